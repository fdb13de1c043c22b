"""Trajectories and demonstrations as frozen types that check themselves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trajectory:
    """One whole episode.

    Attributes:
        observations: [T + 1, S] float64, the last one being the true final observation.
        actions: [T, A] float32 as executed (clipped to the bounds), or [T] int64.
        rewards: [T] float64.
        terminated: whether the episode ended by the task's own rule.
        truncated: whether it ended by the time limit.
        seed: the seed its environment was reset with, or None if unknown.
    """

    observations: NDArray[np.float64]
    actions: NDArray
    rewards: NDArray[np.float64]
    terminated: bool
    truncated: bool
    seed: int | None = None

    def __post_init__(self) -> None:
        steps = len(self.actions)
        if len(self.observations) != steps + 1 or len(self.rewards) != steps:
            raise ValueError(
                f"a trajectory of {steps} actions needs {steps + 1} observations and {steps} rewards, "
                f"not {len(self.observations)} and {len(self.rewards)}"
            )

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def total_reward(self) -> float:
        """Undiscounted return of the episode."""
        return float(self.rewards.sum())


@dataclass(frozen=True)
class Demonstrations:
    """What an algorithm is handed: the subsampled (s, a) pairs of the first n trajectories of a seed's permutation.

    Attributes:
        observations: [M, S] float64.
        actions: [M, A] float32 as executed, or [M] int64.
        trajectory: [M] which trajectory of the store each pair comes from.
        step: [M] the pair's time step in it.
        offsets: {trajectory: first step kept}, in the order of the permutation; written to config.json.
        trajectories: the same trajectories whole, in the same order.
        digest: sha256 of the store.
    """

    observations: NDArray[np.float64]
    actions: NDArray
    trajectory: NDArray[np.int64]
    step: NDArray[np.int64]
    offsets: dict[int, int]
    trajectories: tuple[Trajectory, ...]
    digest: str

    def __post_init__(self) -> None:
        lengths = {len(self.observations), len(self.actions), len(self.trajectory), len(self.step)}
        if len(lengths) != 1 or 0 in lengths:
            raise ValueError(f"demonstrations need equally many (at least one) of every field, not {sorted(lengths)}")
        for array in (self.observations, self.actions, self.trajectory, self.step):
            array.flags.writeable = False

    def __len__(self) -> int:
        return len(self.observations)
