"""How far a forward model is off on the agent's own data that it never saw: one step ahead, and k steps open loop."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from algorithms.forward_models import ForwardModel
from algorithms.mgail import MGAIL
from algorithms.recursion import remember
from algorithms.replay import Segment, SequenceBuffer

Row = dict[str, Any]


@torch.no_grad()
def act(
    algorithm: MGAIL, env: Any, steps: int, seed: int, report: Callable[[float], None] = lambda done: None
) -> SequenceBuffer:
    """Return `steps` steps of a vector environment of its own, acted by the current policy with its noise.

    Args:
        algorithm: whose policy acts; nothing of it is changed.
        env: is reset here.
        steps: of every row.
        seed: of the environment and of all that is drawn.
        report: told the share that is done.
    """
    policy, head = algorithm.learner, algorithm.walk.head
    generator = torch.Generator().manual_seed(seed)
    rows, (observations, _) = env.num_envs, env.reset(seed=seed)
    sizes = len(policy.observation_mean), policy.action_size
    buffer = SequenceBuffer(steps * rows, rows, *sizes, np.random.default_rng(seed))
    for step in range(steps):
        x, noise = policy.normalise(observations), algorithm.noise((rows, policy.action_size), generator)
        u = head.draw(policy(x), noise)
        command = u.argmax(-1).numpy() if policy.discrete else policy.to_env(u)
        observations, _, terminated, truncated, info = env.step(command)
        ends = terminated | truncated, terminated
        buffer.push(x, u, policy.normalise(info["final_obs"]), noise, *ends, elapsed=np.zeros(rows))  # nobody asks when
        report((step + 1) / steps)
    return buffer


@torch.no_grad()
def open_loop(model: ForwardModel, segment: Segment, ahead: Sequence[int]) -> list[Row]:
    """Return a row per number of steps: the model goes on from its own predictions, at the recorded actions.

    A stretch counts up to its episode's end. States are normalised, so that errors are in deviations of theirs.

    Args:
        model: may have a memory, which the segment's past fills.
        segment: stretches [K, B] that are as long as the most steps ahead, or longer.
        ahead: numbers of steps, from 1 up.

    Returns:
        Rows with k, n (stretches that last so long), rms and median (of a stretch's error, its root mean square over
        the state's dimensions), rms_persistence (of "nothing changes") and unexplained, rms^2 / rms_persistence^2.
    """
    memory, x = remember(model, segment), segment.states[0]
    alive = torch.ones(len(x), dtype=torch.bool)
    rows: list[Row] = []
    for k in range(1, max(ahead) + 1):
        change, memory = model(x, segment.actions[k - 1], memory)
        x = x + change
        if k in ahead and alive.any():
            reached = segment.next_states[k - 1][alive]
            errors = (x[alive] - reached).square().mean(-1).double()
            still = (segment.states[0][alive] - reached).square().mean(-1).double().mean().item()
            mean = errors.mean().item()
            row = {"k": k, "n": int(alive.sum()), "rms": mean**0.5, "median": errors.median().item() ** 0.5}
            rows.append(row | {"rms_persistence": still**0.5, "unexplained": mean / still if still else None})
        alive &= segment.done[k - 1, :, 0] == 0
    return rows
