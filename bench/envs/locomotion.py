"""The five locomotion tasks (v5): what they observe, reward and end on, for all rows at once.

Costs of actions are computed in the precision of the actions, as Gymnasium does: float32 actions have a float32 cost.
Healthy ranges have no upper test against infinity: MuJoCo resets a simulation that leaves 1e10.
"""

import numpy as np
from numpy.typing import NDArray

from bench.envs.mujoco import Fields, Floats, MujocoVectorEnv


class Hopper(MujocoVectorEnv):
    """Hopper-v5."""

    model_file = "hopper.xml"
    frame_skip = 4
    reset_noise = 5e-3

    def _observe(self, fields: Fields) -> Floats:
        return np.concatenate([fields["qpos"][:, 1:], np.clip(fields["qvel"], -10, 10)], axis=1)

    def _position(self, fields: Fields) -> Floats:
        return fields["qpos"][:, 0]

    def _judge(self, velocity: Floats, fields: Fields, actions: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
        healthy = self._healthy(fields["state"])
        return (velocity + healthy) - 1e-3 * np.square(actions).sum(axis=1), ~healthy

    def _healthy(self, state: Floats) -> NDArray[np.bool_]:
        """Whether [K] rows stand, from (x, z, pitch, ...) [K, nq + nv]."""
        return (np.abs(state[:, 2:]).max(axis=1) < 100) & (state[:, 1] > 0.7) & (np.abs(state[:, 2]) < 0.2)


class Walker2d(Hopper):
    """Walker2d-v5: Hopper's formulas with other ranges."""

    model_file = "walker2d_v5.xml"

    def _healthy(self, state: Floats) -> NDArray[np.bool_]:
        return (state[:, 1] > 0.8) & (state[:, 1] < 2.0) & (np.abs(state[:, 2]) < 1.0)


class HalfCheetah(MujocoVectorEnv):
    """HalfCheetah-v5: never ends before its time limit."""

    model_file = "half_cheetah.xml"
    frame_skip = 5
    reset_noise = 0.1
    normal_velocities = True

    def _observe(self, fields: Fields) -> Floats:
        return fields["state"][:, 1:].copy()  # the columns themselves are overwritten by resets

    def _position(self, fields: Fields) -> Floats:
        return fields["qpos"][:, 0]

    def _judge(self, velocity: Floats, fields: Fields, actions: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
        return velocity - 0.1 * np.square(actions).sum(axis=1), np.zeros(len(actions), dtype=np.bool_)


class Ant(MujocoVectorEnv):
    """Ant-v5: observes and is charged for contact forces, clipped at 1; moves with its torso (body 1)."""

    model_file = "ant.xml"
    frame_skip = 5
    unseen = 2
    reset_noise = 0.1
    normal_velocities = True
    contact_forces = True
    derived = ("cfrc_ext", "xpos")

    def _observe(self, fields: Fields) -> Floats:
        forces = np.clip(fields["cfrc_ext"][:, 6:], -1.0, 1.0)  # the first six belong to the world
        return np.concatenate([fields["state"][:, 2:], forces], axis=1)

    def _position(self, fields: Fields) -> Floats:
        return fields["xpos"][:, 3]

    def _judge(self, velocity: Floats, fields: Fields, actions: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
        height = fields["qpos"][:, 2]
        healthy = np.isfinite(fields["state"]).all(axis=1) & (height >= 0.2) & (height <= 1.0)
        contact_cost = 5e-4 * np.square(np.clip(fields["cfrc_ext"], -1.0, 1.0)).sum(axis=1)
        return (velocity + healthy) - (0.5 * np.square(actions).sum(axis=1) + contact_cost), ~healthy


class Humanoid(MujocoVectorEnv):
    """Humanoid-v5: observes inertias, velocities and forces of its bodies; moves with its centre of mass."""

    model_file = "humanoid.xml"
    frame_skip = 5
    unseen = 2
    reset_noise = 1e-2
    contact_forces = True
    derived = ("cinert", "cvel", "qfrc_actuator", "cfrc_ext", "xipos")

    def _observe(self, fields: Fields) -> Floats:
        parts = [
            fields["state"][:, 2:],
            fields["cinert"][:, 10:],  # without the world's, as below
            fields["cvel"][:, 6:],
            fields["qfrc_actuator"][:, 6:],  # without the free joint's
            fields["cfrc_ext"][:, 6:],
        ]
        return np.concatenate(parts, axis=1)

    def _position(self, fields: Fields) -> Floats:
        """The centre of mass: bodies are added one after the other, so that the last bit is Gymnasium's."""
        masses = self._model.body_mass
        return np.cumsum(masses * fields["xipos"][:, ::3], axis=1)[:, -1] / masses.sum()

    def _judge(self, velocity: Floats, fields: Fields, actions: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
        height = fields["qpos"][:, 2]
        healthy = (height > 1.0) & (height < 2.0)
        control_cost = 0.1 * np.square(actions.astype(np.float64)).sum(axis=1)  # of MjData's own float64 copy
        contact_cost = np.minimum(5e-7 * np.square(fields["cfrc_ext"]).sum(axis=1), 10.0)
        return (1.25 * velocity + 5.0 * healthy) - (control_cost + contact_cost), ~healthy
