"""What both families of vector environments share: spaces, generators, time limits, same-step autoreset, state."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.spaces import Space
from gymnasium.utils.seeding import np_random
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

ALL = slice(None)
Index = slice | NDArray[np.integer]  # all rows (ALL), or those of an array of indices


class ExactVectorEnv(VectorEnv):
    """N copies of one task, stepped together, equal bit for bit to `gymnasium.make` in every field.

    It follows `gymnasium.vector.SyncVectorEnv` with same-step autoreset: a row that ends is reset within the same
    `step`. Unlike there, ``info["final_obs"]`` is dense: the true next observation of every row, ended or not.
    Row i draws its resets from its own generator, made as Gymnasium makes it. Actions are executed as given: callers
    clip. A family defines `_simulate`, `_reset_rows` and what its simulator's state is.

    Args:
        num_envs: N.
        horizon: time limit in steps.
        observation_space: of one row (float64; the classic tasks' float32 values are widened, which is exact).
        action_space: of one row.
    """

    def __init__(self, num_envs: int, horizon: int, observation_space: Space, action_space: Space):
        self.num_envs = num_envs
        self.horizon = horizon
        self.single_observation_space = observation_space
        self.single_action_space = action_space
        self.observation_space = batch_space(observation_space, num_envs)
        self.action_space = batch_space(action_space, num_envs)
        self.metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}
        self._action_shape = action_space.shape
        self._elapsed = np.zeros(num_envs, dtype=np.int64)
        self._ready = False
        self._generators = [np_random(None)[0] for _ in range(num_envs)]

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:
        """The rows' generators, in order."""
        return tuple(self._generators)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float64], dict[str, Any]]:
        """Start a new episode in every row.

        Args:
            seed: an integer s seeds row i with s + i, a sequence seeds row i with its own entry; a row whose seed is
                None goes on with the generator it has.
            options: ``{"staggered": True}`` cuts row i's first episode short by i / N of the time limit, so that rows
                whose episodes run out of time do not all start anew in the same step.

        Returns:
            Observations [N, S] float64 and an empty info.
        """
        options = options or {}
        if unknown := options.keys() - {"staggered"}:
            raise ValueError(f"reset takes the option staggered, not {sorted(unknown)}")
        if seed is None:
            seed = [None] * self.num_envs
        elif isinstance(seed, int | np.integer):
            seed = [int(seed) + i for i in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(f"{self.num_envs} rows need as many seeds, not {len(seed)}")
        for row, row_seed in enumerate(seed):
            if row_seed is not None:
                self._generators[row] = np_random(int(row_seed))[0]
        rows = np.arange(self.num_envs)
        self._elapsed[:] = rows * self.horizon // self.num_envs if options.get("staggered") else 0
        self._ready = True
        return self._reset_rows(rows), {}

    def step(
        self, actions: NDArray, rows: NDArray[np.integer] | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Step every row, or only the K given ones (K = N without `rows`).

        Args:
            actions: [K] integers or [K, A] floats.
            rows: [K] distinct indices of the rows to step; the others stand still.

        Returns:
            Observations [K, S] float64 after autoreset, rewards [K] float64, terminated [K], truncated [K], and
            ``info["final_obs"]`` [K, S] float64: the observation that the step led to, also where the episode ended.
        """
        if not self._ready:
            raise RuntimeError("call reset (or restore_state) before step")
        index: Index = ALL if rows is None else np.asarray(rows)
        count = self.num_envs if rows is None else len(rows)
        actions = np.ascontiguousarray(actions)
        if actions.shape != (count, *self._action_shape):
            raise ValueError(f"actions of shape {actions.shape}, expected {(count, *self._action_shape)}")
        final_obs, reward, terminated = self._simulate(actions, index)
        self._elapsed[index] += 1
        truncated = self._elapsed[index] >= self.horizon
        observations = final_obs.copy()
        over = terminated | truncated
        if over.any():
            ended = over.nonzero()[0] if rows is None else np.asarray(rows)[over]
            self._elapsed[ended] = 0
            observations[over] = self._reset_rows(ended)
        return observations, reward, terminated, truncated, {"final_obs": final_obs}

    def save_state(self) -> dict[str, Any]:
        """Return all that the rows' futures depend on, as NumPy arrays and plain values."""
        return {
            "generators": [generator.bit_generator.state for generator in self._generators],
            "elapsed": self._elapsed.copy(),
            "simulator": self._save_simulator(),
        }

    def restore_state(self, state: dict[str, Any]) -> None:
        """Go on exactly where `save_state` of an environment with as many rows was called."""
        if len(state["elapsed"]) != self.num_envs:
            raise ValueError(f"a state of {len(state['elapsed'])} rows cannot go on in {self.num_envs}")
        for generator, generator_state in zip(self._generators, state["generators"], strict=True):
            generator.bit_generator.state = generator_state
        self._elapsed[:] = state["elapsed"]
        self._ready = True
        self._restore_simulator(state["simulator"])

    def simulator_states(self, rows: NDArray[np.integer] | None = None) -> NDArray[np.float64]:
        """Return the simulator's states [K, D] of the given rows (default: all), as `set_simulator_states` takes."""
        raise NotImplementedError

    def set_simulator_states(self, rows: NDArray[np.integer], states: NDArray[np.float64]) -> NDArray[np.float64]:
        """Begin an episode of K rows in the given states [K, D]; elapsed steps count from 0.

        D: the internal state of a classic task; positions and velocities (qpos, qvel) of a MuJoCo task, whose solver
        starts cold as after a reset.

        Returns:
            Their observations [K, S].
        """
        states = np.asarray(states, dtype=np.float64)
        self._elapsed[rows] = 0
        return self._place(np.asarray(rows), states)

    def states_of(self, observations: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the simulator's states [K, D] that look like observations [K, S]; what these do not show is 0.

        A MuJoCo task does not show where along the ground it is, and some clip their velocities.
        """
        raise NotImplementedError

    def _simulate(
        self, actions: NDArray, rows: Index
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Advance `rows` by one step: next observations [K, S], rewards [K], terminated [K]; no reset, no limit."""
        raise NotImplementedError

    def _reset_rows(self, rows: NDArray[np.integer]) -> NDArray[np.float64]:
        """Draw new starts for `rows` from their generators; return their observations [K, S]."""
        raise NotImplementedError

    def _place(self, rows: NDArray[np.integer], states: NDArray[np.float64]) -> NDArray[np.float64]:
        """Put `rows` into `states` [K, D]; return their observations [K, S]."""
        raise NotImplementedError

    def _save_simulator(self) -> Any:
        raise NotImplementedError

    def _restore_simulator(self, state: Any) -> None:
        raise NotImplementedError
