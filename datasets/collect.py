"""Acting in the environments: whole episodes that depend on nothing but the policy and the episode's number.

Episode i resets its environment with seed ``FIRST_SEED + i`` and draws its actions from its own stream of that seed, so
that 50 episodes are the first 50 of 240. The number of episodes stepped together must not matter either, to the last
bit; a matrix product rounds differently for different numbers of rows, therefore the policy always sees blocks of
`BLOCK` rows in which episode i stands in row ``i % BLOCK``.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from bench.envs import make_env
from bench.errors import UserError
from bench.policy import Policy
from bench.seeding import Streams
from bench.tasks import Task
from bench.trajectory import Trajectory

FIRST_SEED = 10_000_000  # away from the starts of evaluations
BLOCK = 16
BATCH = 32  # episodes stepped together: 90 MB of observations on Humanoid

Function = Callable[..., Any]
"""A user's policy: observations [N, S] -> actions [N, A] or [N]; if it takes a second argument, N NumPy generators."""


def collect(
    task: Task,
    policy: Policy | Function,
    episodes: range,
    batch: int = BATCH,
    on_progress: Callable[[float], None] | None = None,
) -> Iterator[Trajectory]:
    """Yield the episodes with these numbers, in order.

    Args:
        task: where to act.
        policy: a `Policy`, which is sampled, or a user's `Function`, which does what it does.
        episodes: consecutive episode numbers.
        batch: episodes stepped together; it changes the speed only.
        on_progress: called now and then with the number of episodes done so far.

    Raises:
        UserError: a user's function does not return valid actions.
    """
    for start in range(episodes.start, episodes.stop, batch):
        done = start - episodes.start
        report = (lambda part, done=done: on_progress(done + part)) if on_progress else None
        # Not by a name, which would keep these episodes in memory while the next are made.
        yield from _collect_together(task, policy, range(start, min(start + batch, episodes.stop)), report)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch compute in one thread: several add up in another order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@_one_thread()
def _collect_together(
    task: Task, policy: Policy | Function, episodes: range, on_progress: Callable[[float], None] | None
) -> list[Trajectory]:
    n, horizon = len(episodes), task.horizon
    first = episodes.start // BLOCK * BLOCK
    slots = np.asarray(episodes) - first  # where each episode stands in the padded rows
    seeds: list[int | None] = [None] * (-(-(slots[-1] + 1) // BLOCK) * BLOCK)
    for slot, episode in zip(slots, episodes, strict=True):
        seeds[slot] = FIRST_SEED + episode

    env = make_env(task, n)
    act = _actor(policy, seeds, task, env.single_action_space)
    current, _ = env.reset(seed=[FIRST_SEED + episode for episode in episodes])
    observations = np.empty((n, horizon + 1, current.shape[1]))
    observations[:, 0] = current
    actions = (
        np.zeros((n, horizon), np.int64)
        if task.discrete
        else np.zeros((n, horizon, *env.single_action_space.shape), np.float32)
    )
    rewards = np.zeros((n, horizon))
    terminated, truncated, lengths = np.zeros(n, bool), np.zeros(n, bool), np.zeros(n, int)
    padded = np.zeros((len(seeds), current.shape[1]))

    rows = np.arange(n)
    for t in range(horizon):
        padded[slots[rows]] = observations[rows, t]
        blocks = np.unique(slots[rows] // BLOCK)
        chosen = {b: act(padded[b * BLOCK : (b + 1) * BLOCK], slice(b * BLOCK, (b + 1) * BLOCK), t) for b in blocks}
        actions[rows, t] = [chosen[slot // BLOCK][slot % BLOCK] for slot in slots[rows]]
        _, rewards[rows, t], terminated[rows], truncated[rows], info = env.step(actions[rows, t], rows=rows)
        observations[rows, t + 1] = info["final_obs"]
        lengths[rows] = t + 1
        rows = rows[~(terminated[rows] | truncated[rows])]
        if on_progress and t % 20 == 0:
            on_progress(n * (t + 1) / horizon)
        if len(rows) == 0:
            break
    env.close()
    return [
        Trajectory(
            observations[i, : lengths[i] + 1].copy(),
            actions[i, : lengths[i]].copy(),
            rewards[i, : lengths[i]].copy(),
            bool(terminated[i]),
            bool(truncated[i]),
            FIRST_SEED + episodes[i],
        )
        for i in range(n)
    ]


Actor = Callable[[NDArray[np.float64], slice, int], NDArray]
"""(observations [BLOCK, S], which of the padded rows these are, time step) -> actions that the environment executes."""


def _actor(policy: Policy | Function, seeds: Sequence[int | None], task: Task, space: spaces.Space) -> Actor:
    generators = [Streams(seed or 0).numpy("demonstration actions") for seed in seeds]
    return (
        _sampled(policy, generators, task) if isinstance(policy, Policy) else _called(policy, generators, task, space)
    )


def _sampled(policy: Policy, generators: list[np.random.Generator], task: Task) -> Actor:
    """Draw from the policy's distribution; each episode's noise [T, A] is drawn at once from its own generator."""
    shape = (task.horizon, policy.action_size)
    noise = torch.from_numpy(
        np.stack([g.gumbel(size=shape) if policy.discrete else g.standard_normal(shape) for g in generators], 1)
    ).float()

    @torch.no_grad()
    def act(observations: NDArray[np.float64], rows: slice, t: int) -> NDArray:
        output = policy(policy.normalise(observations))
        if policy.discrete:  # the Gumbel-max trick: argmax(logits + Gumbel) is a categorical draw
            return (output + noise[t, rows]).argmax(-1).numpy()
        return policy.to_env(output + policy.log_std.exp() * noise[t, rows])

    return act


def _called(function: Function, generators: list[np.random.Generator], task: Task, space: spaces.Space) -> Actor:
    """Call a user's function and check what it returns."""
    name = getattr(function, "__name__", repr(function))
    try:
        takes_generators = len(inspect.signature(function).parameters) > 1
    except (TypeError, ValueError):
        takes_generators = False

    def act(observations: NDArray[np.float64], rows: slice, t: int) -> NDArray:
        arguments = (observations.copy(), generators[rows]) if takes_generators else (observations.copy(),)
        actions = np.asarray(function(*arguments))
        if isinstance(space, spaces.Discrete):
            right = f"{BLOCK} integers from 0 to {space.n - 1}"
            fits = (
                actions.shape == (BLOCK,)
                and np.issubdtype(actions.dtype, np.integer)
                and bool(((actions >= 0) & (actions < space.n)).all())
            )
        else:
            assert isinstance(space, spaces.Box)
            right = f"finite numbers of shape {(BLOCK, *space.shape)}"
            fits = (
                actions.shape == (BLOCK, *space.shape)
                and np.issubdtype(actions.dtype, np.number)
                and bool(np.isfinite(actions).all())
            )
        if not fits:
            raise UserError(
                f"policy {name} returned {actions.dtype} of shape {actions.shape}; "
                f"for observations {observations.shape} of {task.name} it must return {right}"
            )
        if isinstance(space, spaces.Box):
            actions = np.clip(actions, space.low, space.high).astype(np.float32)
        return actions

    return act
