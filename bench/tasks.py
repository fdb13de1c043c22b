"""The eight tasks of the paper as one table (paper section 4 and Table 1; protocol of Ho & Ermon 2016)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.errors import unknown


@dataclass(frozen=True)
class Task:
    """One task: its Gymnasium environment and its protocol.

    Attributes:
        name: the name used on the command line and in run records.
        title: the name printed in tables and figures.
        env_id: Gymnasium id.
        horizon: time limit in steps.
        step_seconds: simulated seconds per environment step (horizons in seconds compare across tasks).
        trajectories: the dataset sizes of Table 1.
        subsample: every k-th pair of a demonstration is kept, from a random offset [H&E].
        reward_form: GAIL's reward, -log D (``positive``) or log(1 - D) (``negative``) [H&E].
        discrete: whether actions are integers.
        family: which vector environment simulates it.
        stored: trajectories in the default demonstration store.
        env_kwargs: arguments of `gymnasium.make` beside the id.
    """

    name: str
    title: str
    env_id: str
    horizon: int
    step_seconds: float
    trajectories: tuple[int, ...]
    subsample: int
    reward_form: Literal["positive", "negative"]
    discrete: bool
    family: Literal["classic", "mujoco"]
    stored: int = 50
    env_kwargs: Mapping[str, Any] = field(default_factory=dict)


_CLASSIC = (1, 4, 7, 10)
_MUJOCO = (4, 11, 18, 25)
_LIMIT_200 = {"max_episode_steps": 200}

TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        Task(
            "cartpole", "CartPole", "CartPole-v1", 200, 0.02, _CLASSIC, 10, "positive", True, "classic", 50, _LIMIT_200
        ),
        Task("mountaincar", "MountainCar", "MountainCar-v0", 200, 1.0, _CLASSIC, 5, "negative", True, "classic"),
        Task("acrobot", "Acrobot", "Acrobot-v1", 200, 0.2, _CLASSIC, 5, "negative", True, "classic", 50, _LIMIT_200),
        Task("hopper", "Hopper", "Hopper-v5", 1000, 0.008, _MUJOCO, 20, "positive", False, "mujoco"),
        Task("walker2d", "Walker2d", "Walker2d-v5", 1000, 0.008, _MUJOCO, 20, "positive", False, "mujoco"),
        Task("halfcheetah", "HalfCheetah", "HalfCheetah-v5", 1000, 0.05, _MUJOCO, 20, "positive", False, "mujoco"),
        Task("ant", "Ant", "Ant-v5", 1000, 0.05, _MUJOCO, 20, "positive", False, "mujoco"),
        Task("humanoid", "Humanoid", "Humanoid-v5", 1000, 0.015, (80, 160, 240), 20, "positive", False, "mujoco", 240),
    )
}


def get_task(name: str) -> Task:
    """Return the task called `name`; a `UserError` lists the known ones otherwise."""
    if name not in TASKS:
        raise unknown("task", name, tuple(TASKS))
    return TASKS[name]
