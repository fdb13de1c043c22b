"""MuJoCo tasks for N rows at the speed of physics: one simulator, N states, everything else for all rows at once.

`mj_step` depends on nothing but its model and the integration state (positions, velocities, the solver's warm start,
controls, ...). So the rows are rows of one array: a step writes a row into the simulator, calls `mj_step`, and reads it
back. That costs a microsecond, which the caches give back: N separate MjData would wander through memory.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import mujoco
import numpy as np
from gymnasium.spaces import Box
from numpy.typing import NDArray

from bench.envs.base import ExactVectorEnv, Index

Floats = NDArray[np.float64]
Fields = Mapping[str, Floats]

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
STATE = mujoco.mjtState.mjSTATE_INTEGRATION.value


@contextmanager
def unwarned() -> Iterator[None]:
    """Keep MuJoCo's warnings of how Gymnasium's models are written off the terminal and out of a MUJOCO_LOG.TXT."""
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(handler)


@unwarned()
def _load(path: Path) -> mujoco.MjModel:
    """Compile one of Gymnasium's models.

    A model of one tree is at most one island of constraints: looking for islands changes no bit, and takes 3 to 9 % of
    a step.
    """
    model = mujoco.MjModel.from_xml_path(str(path))
    if model.ntree == 1:
        model.opt.disableflags |= int(getattr(mujoco.mjtDisableBit, "mjDSBL_ISLAND", 0))  # older releases look for none
    return model


class Simulator:
    """An MjData that takes on the state of whichever row is due."""

    def __init__(self, model: mujoco.MjModel, derived: Sequence[str], contact_forces: bool):
        self.model = model
        self.data = mujoco.MjData(model)
        # MjData's memory never moves, so views of it are made once.
        self.derived = [getattr(self.data, name).reshape(-1) for name in derived]
        self.contact_forces = contact_forces

    def step(self, rows: Sequence[tuple[Floats, Floats]], frame_skip: int) -> None:
        """Advance rows, each given as its integration state and its derived values, in place."""
        model, data = self.model, self.data
        mj_set, mj_step, mj_get = mujoco.mj_setState, mujoco.mj_step, mujoco.mj_getState
        for state, derived in rows:
            mj_set(model, data, state, STATE)
            mj_step(model, data, frame_skip)
            mj_get(model, data, state, STATE)
            if self.derived:
                if self.contact_forces:
                    mujoco.mj_rnePostConstraint(model, data)
                np.concatenate(self.derived, out=derived)

    def place(self, row: tuple[Floats, Floats], qpos: Floats, qvel: Floats) -> None:
        """Begin an episode of a row, given as in `step`."""
        state, derived = row
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[:] = qpos
        self.data.qvel[:] = qvel
        mujoco.mj_forward(self.model, self.data)
        mujoco.mj_getState(self.model, self.data, state, STATE)
        if self.derived:
            np.concatenate(self.derived, out=derived)


class MujocoVectorEnv(ExactVectorEnv):
    """Base of the MuJoCo tasks.

    A subclass names its model and the fields of MjData that it reads beside positions and velocities, and computes
    observation, reward and termination of K rows from `Fields`: ``qpos``, ``qvel``, both as ``state``, and the derived
    ones, each [K, size].
    """

    model_file: ClassVar[str]
    frame_skip: ClassVar[int]
    reset_noise: ClassVar[float]
    normal_velocities: ClassVar[bool] = False  # initial velocities are drawn from a normal, not a uniform distribution
    derived: ClassVar[tuple[str, ...]] = ()
    unseen: ClassVar[int] = 1  # leading positions that are not observed; the rest of qpos and qvel leads observations
    contact_forces: ClassVar[bool] = False  # computed only where they are read: they do not change the dynamics

    def __init__(self, num_envs: int, horizon: int, threads: int = 1):
        self._model = model = _load(ASSETS / self.model_file)
        self._simulators = [Simulator(model, self.derived, self.contact_forces) for _ in range(threads)]
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._dt = model.opt.timestep * self.frame_skip
        data = self._simulators[0].data
        self._init_qpos, self._init_qvel = data.qpos.copy(), data.qvel.copy()
        # Columns of a row: the integration state (its parts lie in the order of their bits), then the derived fields.
        qpos, control = mujoco.mjtState.mjSTATE_QPOS.value, mujoco.mjtState.mjSTATE_CTRL.value
        first_qpos = mujoco.mj_stateSize(model, STATE & (qpos - 1))
        first_control = mujoco.mj_stateSize(model, STATE & (control - 1))
        width = mujoco.mj_stateSize(model, STATE)
        self._control = slice(first_control, first_control + model.nu)
        self._columns = {
            "qpos": slice(first_qpos, first_qpos + model.nq),
            "qvel": slice(first_qpos + model.nq, first_qpos + model.nq + model.nv),
            "state": slice(first_qpos, first_qpos + model.nq + model.nv),
        }
        end = width
        for name, view in zip(self.derived, self._simulators[0].derived, strict=True):
            self._columns[name] = slice(end, end + view.size)
            end += view.size
        self._values = np.zeros((num_envs, end))
        self._rows = [(row[:width], row[width:]) for row in self._values]
        self._all_fields = self._fields(self._values)
        low, high = model.actuator_ctrlrange.astype(np.float32).T
        unbounded = np.full(self._observe(self._fields(self._values[:1])).shape[1], np.inf)
        super().__init__(num_envs, horizon, Box(-unbounded, unbounded, dtype=np.float64), Box(low, high))

    def _fields(self, values: Floats) -> Fields:
        return {name: values[:, columns] for name, columns in self._columns.items()}

    def _observe(self, fields: Fields) -> Floats:
        """Observations [K, S], in memory of their own."""
        raise NotImplementedError

    def _position(self, fields: Fields) -> Floats:
        """Where the body that should move forward is [K], in metres."""
        raise NotImplementedError

    def _judge(self, velocity: Floats, fields: Fields, actions: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
        """Rewards [K] and terminations [K] of a step that led to `fields` at a velocity [K] of the position."""
        raise NotImplementedError

    def _start(self, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw the positions and velocities of a new episode, in Gymnasium's order."""
        noise = self.reset_noise
        qpos = self._init_qpos + generator.uniform(-noise, noise, size=self._model.nq)
        if self.normal_velocities:
            return qpos, self._init_qvel + noise * generator.standard_normal(self._model.nv)
        return qpos, self._init_qvel + generator.uniform(-noise, noise, size=self._model.nv)

    def _simulate(self, actions: NDArray, rows: Index) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        start = self._position(self._all_fields)[rows].copy()
        self._values[rows, self._control] = actions
        self._advance(self._rows if isinstance(rows, slice) else [self._rows[row] for row in rows])
        fields = self._all_fields if isinstance(rows, slice) else self._fields(self._values[rows])
        velocity = (self._position(fields) - start) / self._dt
        reward, terminated = self._judge(velocity, fields, actions)
        return self._observe(fields), reward, terminated

    def _advance(self, rows: Sequence[tuple[Floats, Floats]]) -> None:
        if self._pool is None:
            self._simulators[0].step(rows, self.frame_skip)
        else:  # mj_step releases the GIL
            count = len(self._simulators)
            steps = [
                self._pool.submit(simulator.step, rows[thread::count], self.frame_skip)
                for thread, simulator in enumerate(self._simulators)
            ]
            for step in steps:
                step.result()

    def _reset_rows(self, rows: NDArray[np.integer]) -> Floats:
        for row in rows:
            self._simulators[0].place(self._rows[row], *self._start(self._generators[row]))
        return self._observe(self._fields(self._values[rows]))

    def _place(self, rows: NDArray[np.integer], states: Floats) -> Floats:
        for row, state in zip(rows, states, strict=True):
            self._simulators[0].place(self._rows[row], *np.split(state, [self._model.nq]))
        return self._observe(self._fields(self._values[rows]))

    def simulator_states(self, rows: NDArray[np.integer] | None = None) -> Floats:  # noqa: D102
        return self._values[:, self._columns["state"]][slice(None) if rows is None else rows].copy()

    def states_of(self, observations: Floats) -> Floats:  # noqa: D102
        seen = observations[:, : self._model.nq + self._model.nv - self.unseen]
        return np.concatenate([np.zeros((len(seen), self.unseen)), seen], axis=1)

    def _save_simulator(self) -> Floats:
        return self._values.copy()

    def _restore_simulator(self, state: Floats) -> None:
        self._values[:] = state

    def close_extras(self, **kwargs: Any) -> None:
        """End the threads, if there are any."""
        if self._pool is not None:
            self._pool.shutdown()
