"""On-policy batches: what a policy did in a vector environment, as arrays [T, N, ...]."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.actor import Actor
from bench.policy import Policy


@dataclass(frozen=True)
class Rollout:
    """T steps of N environments; an episode may go on in the next batch.

    Attributes:
        observations: [T, N, S] float64.
        x: [T, N, S] float32, what the policy's network saw (normalised).
        actions: [T, N] int64, or [T, N, A] float32 in normalised units and not clipped (for log-probabilities).
        executed: [T, N] int64, or [T, N, A] float32, what the environment executed.
        next_observations: [T, N, S] float64, true successors: an episode's last one is its final observation.
        rewards: [T, N] float64, the task's own (imitation learners must not look).
        terminated: [T, N] whether the step ended the episode by the task's rule.
        truncated: [T, N] whether the step ended it by the time limit.
    """

    observations: NDArray[np.float64]
    x: Tensor
    actions: Tensor
    executed: NDArray
    next_observations: NDArray[np.float64]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]

    @property
    def steps(self) -> int:
        """Environment interactions in the batch, T * N."""
        return self.rewards.size


class Collector:
    """Steps a vector environment with a policy and keeps its place between batches."""

    def __init__(self, env: Any, policy: Policy, seed: int, generator: torch.Generator):
        self.env = env
        self.policy = policy
        self.generator = generator
        self.observations, _ = env.reset(seed=seed, options={"staggered": True})

    def collect(self, steps: int) -> Rollout:
        """Act for `steps` steps in every environment."""
        rows = self.env.num_envs
        actor = Actor(self.policy, rows)
        observations = np.empty((steps + 1, *self.observations.shape))
        successors = np.empty((steps, *self.observations.shape))
        x = torch.empty(successors.shape)
        actions = torch.empty((steps, *self.env.action_space.shape), dtype=torch.int64 if actor.discrete else None)
        inputs, drawn = x.numpy(), actions.numpy()  # the same memory
        executed = np.empty_like(drawn)
        rewards = np.empty((steps, rows))
        terminated = np.empty((steps, rows), dtype=bool)
        truncated = np.empty((steps, rows), dtype=bool)
        observations[0] = self.observations
        for t in range(steps):
            actor.normalise(observations[t], out=inputs[t])
            actor.draw(inputs[t], self.generator, out=drawn[t])
            executed[t] = command = actor.to_env(drawn[t])
            observations[t + 1], rewards[t], terminated[t], truncated[t], info = self.env.step(command)
            successors[t] = info["final_obs"]
        self.observations = observations[steps].copy()
        return Rollout(
            observations=observations[:steps],
            x=x,
            actions=actions,
            executed=executed,
            next_observations=successors,
            rewards=rewards,
            terminated=terminated,
            truncated=truncated & ~terminated,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return simulators, current observations and the generator of actions."""
        return {
            "env": self.env.save_state(),
            "observations": self.observations.copy(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.env.restore_state(state["env"])
        self.observations = state["observations"].copy()
        self.generator.set_state(state["generator"])
