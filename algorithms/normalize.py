"""Scales of observations: running, or a fixed mixture, written into a policy's normaliser."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

MINIMUM_VARIANCE = 1e-8  # keeps a constant observation from dividing by zero


class RunningNormalizer:
    """Mean and variance over all observations seen (parallel-variance merge of Chan et al. 1983).

    A policy's normaliser must stand still from sampling through the update (otherwise log-probabilities belong to
    another function), so nothing happens to it until `write`.
    """

    def __init__(self, size: int):
        self.mean = np.zeros(size)
        self.variance = np.ones(size)
        self.count = 0

    def update(self, observations: NDArray) -> None:
        """Merge observations [..., S] into the statistics."""
        batch = observations.reshape(-1, len(self.mean))
        count = self.count + len(batch)
        delta = batch.mean(0) - self.mean
        squares = self.variance * self.count + batch.var(0) * len(batch)
        self.variance = (squares + delta**2 * (self.count * len(batch) / count)) / count
        self.mean = self.mean + delta * (len(batch) / count)
        self.count = count

    def write(self, policy: torch.nn.Module) -> None:
        """Copy mean and standard deviation into the policy's buffers."""
        std = np.sqrt(self.variance + MINIMUM_VARIANCE)
        policy.get_buffer("observation_mean").copy_(torch.from_numpy(self.mean))
        policy.get_buffer("observation_std").copy_(torch.from_numpy(std))

    def state_dict(self) -> dict[str, Any]:
        """Return the statistics."""
        return {"mean": self.mean.copy(), "variance": self.variance.copy(), "count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the statistics."""
        self.mean, self.variance = state["mean"].copy(), state["variance"].copy()
        self.count = state["count"]


@torch.no_grad()
def set_mixed_scale(policy: torch.nn.Module, *groups: NDArray) -> None:
    """Normalise for good by an equal mixture of groups [..., S]: demonstrations and an unskilled policy's observations.

    Either alone fails: a few CartPole demonstrations hardly move, and a random MountainCar hardly does. What never
    changes again lets neither policy nor D drift, and is frozen from sampling through the update.
    """
    flat = [group.reshape(-1, group.shape[-1]) for group in groups]
    mean = np.mean([group.mean(0) for group in flat], axis=0)
    variance = np.mean([np.square(group - mean).mean(0) for group in flat], axis=0)
    policy.get_buffer("observation_mean").copy_(torch.from_numpy(mean))
    policy.get_buffer("observation_std").copy_(torch.from_numpy(np.sqrt(variance + MINIMUM_VARIANCE)))
