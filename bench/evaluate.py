"""Play whole episodes from given seeds: the one way in which every policy is scored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.envs import make_env
from bench.tasks import Task


@dataclass(frozen=True)
class Episodes:
    """The outcome of one episode per seed, in the order of the seeds.

    Attributes:
        seeds: [N] the seed each episode was reset with.
        returns: [N] float64, undiscounted.
        lengths: [N] int64, in steps.
        terminated: [N] bool: ended by the task's own rule; the others were cut by the time limit.
    """

    seeds: NDArray[np.int64]
    returns: NDArray[np.float64]
    lengths: NDArray[np.int64]
    terminated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.seeds)


class Transitions(NamedTuple):
    """One step of the K episodes that are still running.

    Attributes:
        rows: [K] which episodes.
        observations: [K, S] before the step.
        actions: [K] or [K, A] as executed.
        rewards: [K].
        next_observations: [K, S] after it, also where the episode ended.
        terminated: [K].
        truncated: [K].
    """

    rows: NDArray[np.int64]
    observations: NDArray[np.float64]
    actions: NDArray
    rewards: NDArray[np.float64]
    next_observations: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]


def evaluate(
    act: Callable[[NDArray[np.float64]], NDArray],
    task: Task,
    seeds: Sequence[int],
    on_step: Callable[[Transitions], None] | None = None,
) -> Episodes:
    """Play one whole episode per seed; the same arguments give the same numbers, bit for bit.

    Row i starts as `gymnasium.make(task.env_id).reset(seed=seeds[i])` does and stands still once its episode is over
    (never "the first N to finish", which would favour short episodes).

    Args:
        act: observations [N, S] -> actions [N] or [N, A]. It is always asked for all rows, so that its arithmetic does
            not depend on how many are left; answers for finished rows are ignored.
        task: which task.
        seeds: [N] at least one.
        on_step: called after every step with what happened (to record trajectories, to show progress).

    Returns:
        One entry per seed, in order.
    """
    count = len(seeds)
    env = make_env(task, count)
    returns = np.zeros(count)
    lengths = np.zeros(count, dtype=np.int64)
    has_terminated = np.zeros(count, dtype=np.bool_)
    observations, _ = env.reset(seed=[int(seed) for seed in seeds])
    running = np.arange(count)
    while len(running):
        actions = np.asarray(act(observations))[running]
        _, rewards, terminated, truncated, info = env.step(actions, rows=running)
        if on_step is not None:
            on_step(
                Transitions(running, observations[running], actions, rewards, info["final_obs"], terminated, truncated)
            )
        observations[running] = info["final_obs"]
        returns[running] += rewards
        lengths[running] += 1
        has_terminated[running] = terminated
        running = running[~(terminated | truncated)]
    return Episodes(np.array(seeds, dtype=np.int64), returns, lengths, has_terminated)
