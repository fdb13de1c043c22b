"""MuJoCo tasks for N rows at the speed of physics: one MjModel, N MjData, everything else for all rows at once."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
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


def _load(path: Path) -> mujoco.MjModel:
    """Compile one of Gymnasium's models, without MuJoCo's warnings about how it is written."""
    handler = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda message: None)
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    finally:
        mujoco.set_mju_user_warning(handler)


class MujocoVectorEnv(ExactVectorEnv):
    """Base of the MuJoCo tasks.

    A subclass names its model, the fields of MjData that it reads, and computes observation, reward and termination
    of all rows from them. The fields are gathered once per step, through views made once, into one array
    [N, sum of sizes]; its columns are what `Fields` gives by name, each [K, size], and ``state`` is (qpos, qvel).
    """

    model_file: ClassVar[str]
    frame_skip: ClassVar[int]
    reset_noise: ClassVar[float]
    fields: ClassVar[tuple[str, ...]] = ("qpos", "qvel")

    reads_contact_forces: ClassVar[bool] = False  # only then they are computed: they do not change the dynamics
    normal_velocities: ClassVar[bool] = False  # initial velocities are drawn from a normal, not a uniform distribution

    def __init__(self, num_envs: int, horizon: int, threads: int = 1):
        self._model = _load(ASSETS / self.model_file)
        self._data = [mujoco.MjData(self._model) for _ in range(num_envs)]
        self._init_qpos, self._init_qvel = self._data[0].qpos.copy(), self._data[0].qvel.copy()
        self._dt = self._model.opt.timestep * self.frame_skip
        # MjData's memory never moves, so views of it can be made once.
        self._simulators = [(data.ctrl, data) for data in self._data]
        self._views = [[getattr(data, name).reshape(-1) for name in self.fields] for data in self._data]
        self._all_views = [view for views in self._views for view in views]
        ends = np.cumsum([view.size for view in self._views[0]]).tolist()
        self._columns = {
            name: slice(end - view.size, end) for name, view, end in zip(self.fields, self._views[0], ends, strict=True)
        }
        self._columns["state"] = slice(0, self._model.nq + self._model.nv)
        self._values = np.zeros((num_envs, ends[-1]))
        low, high = self._model.actuator_ctrlrange.astype(np.float32).T
        unbounded = np.full(self._observe(self._fields(self._values[:1])).shape[1], np.inf)
        self._pool = ThreadPoolExecutor(threads) if threads > 1 else None
        self._threads = threads
        super().__init__(num_envs, horizon, Box(-unbounded, unbounded, dtype=np.float64), Box(low, high))

    def _fields(self, values: Floats) -> Fields:
        return {name: values[:, columns] for name, columns in self._columns.items()}

    def _gather(self, rows: Index) -> Fields:
        """Read the fields of `rows` out of the simulators, and keep them for the next step's comparison."""
        if isinstance(rows, slice):
            self._values = values = np.concatenate(self._all_views).reshape(self._values.shape)
        else:
            values = np.concatenate([view for row in rows for view in self._views[row]]).reshape(len(rows), -1)
            self._values[rows] = values
        return self._fields(values)

    def _observe(self, fields: Fields) -> Floats:
        """Observations [K, S]."""
        raise NotImplementedError

    def _judge(self, before: Fields, after: Fields, actions: NDArray) -> tuple[Floats, NDArray[np.bool_]]:
        """Rewards [K] and terminations [K] of a step."""
        raise NotImplementedError

    def _start(self, generator: np.random.Generator) -> tuple[Floats, Floats]:
        """Draw the positions and velocities of a new episode, in Gymnasium's order."""
        noise = self.reset_noise
        qpos = self._init_qpos + generator.uniform(-noise, noise, size=self._model.nq)
        if self.normal_velocities:
            return qpos, self._init_qvel + noise * generator.standard_normal(self._model.nv)
        return qpos, self._init_qvel + generator.uniform(-noise, noise, size=self._model.nv)

    def _simulate(self, actions: NDArray, rows: Index) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        before = self._fields(self._values[rows])
        simulators = self._simulators if isinstance(rows, slice) else [self._simulators[row] for row in rows]
        if self._pool is None:
            self._advance(simulators, actions)
        else:  # mj_step releases the GIL
            slices = [slice(thread, None, self._threads) for thread in range(self._threads)]
            list(self._pool.map(self._advance, [simulators[s] for s in slices], [actions[s] for s in slices]))
        after = self._gather(rows)
        reward, terminated = self._judge(before, after, actions)
        return self._observe(after), reward, terminated

    def _advance(self, simulators: list[tuple[Floats, mujoco.MjData]], actions: NDArray) -> None:
        model, frame_skip, mj_step = self._model, self.frame_skip, mujoco.mj_step
        for (control, data), action in zip(simulators, actions, strict=True):
            control[:] = action
            mj_step(model, data, frame_skip)
            if self.reads_contact_forces:
                mujoco.mj_rnePostConstraint(model, data)

    def _reset_rows(self, rows: NDArray[np.integer]) -> Floats:
        starts = [np.concatenate(self._start(self._generators[row])) for row in rows]
        return self._place(rows, np.stack(starts))

    def _place(self, rows: NDArray[np.integer], states: Floats) -> Floats:
        nq = self._model.nq
        for row, state in zip(rows.tolist(), states, strict=True):
            data = self._data[row]
            mujoco.mj_resetData(self._model, data)
            data.qpos[:] = state[:nq]
            data.qvel[:] = state[nq:]
            mujoco.mj_forward(self._model, data)
        return self._observe(self._gather(rows))

    def simulator_states(self, rows: NDArray[np.integer] | None = None) -> Floats:  # noqa: D102
        data = self._data if rows is None else [self._data[row] for row in rows]
        return np.stack([np.concatenate([d.qpos, d.qvel]) for d in data])

    def _save_simulator(self) -> dict[str, Any]:
        # The integration state holds what mj_step depends on (time and warm start of the solver included); the
        # fields are what the next reward is compared with.
        kind = mujoco.mjtState.mjSTATE_INTEGRATION
        states = np.empty((self.num_envs, mujoco.mj_stateSize(self._model, kind)))
        for data, state in zip(self._data, states, strict=True):
            mujoco.mj_getState(self._model, data, state, kind)
        return {"integration": states, "fields": self._values.copy()}

    def _restore_simulator(self, state: dict[str, Any]) -> None:
        for data, row_state in zip(self._data, state["integration"], strict=True):
            mujoco.mj_setState(self._model, data, row_state, mujoco.mjtState.mjSTATE_INTEGRATION)
        self._values[:] = state["fields"]

    def close_extras(self, **kwargs: Any) -> None:
        """End the threads, if there are any."""
        if self._pool is not None:
            self._pool.shutdown()
