"""What a policy's output says of actions: their distribution for autograd, and what a trust region needs by hand.

A likelihood is a snapshot of pi_old over the rows of a batch, with its derivatives written out: no graph. A later
policy is given by its network's output [M, O] and, for Gaussians, its log deviations [A].
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, distributions

from bench.policy import Policy

Metric = Callable[[Tensor], Tensor]
EMPTY = torch.empty(0)


def distribution(policy: Policy, output: Tensor) -> distributions.Distribution:
    """Return pi(.|s) for the network's output: [..., n] logits, or [..., A] means of normalised actions."""
    if policy.discrete:
        return distributions.Categorical(logits=output, validate_args=False)
    normal = distributions.Normal(output, policy.log_std.exp().expand_as(output), validate_args=False)
    return distributions.Independent(normal, 1, validate_args=False)


class Likelihood(Protocol):
    """pi_old over a batch of M rows, and the actions that were drawn from it."""

    def score(self, advantages: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient of mean(ratio * A) at pi_old, A [M]: by the output [M, O] and by the log deviations."""
        ...

    def metric(self, rows: Tensor) -> Metric:
        """Return u -> M u, the Fisher matrix of the distribution in the output, for some rows: [K, O] -> [K, O]."""
        ...

    def compare(self, output: Tensor, log_std: Tensor) -> tuple[float, Tensor]:
        """Return the mean KL(old || new) and log pi_new(a|s) - log pi_old(a|s) [M] of a later policy."""
        ...

    def entropy(self) -> float:
        """Return the mean entropy of pi_old."""
        ...


class Gaussian:
    """Normals around means [M, A], with log deviations [A] that do not depend on the state."""

    def __init__(self, mean: Tensor, log_std: Tensor, actions: Tensor):
        self.mean, self.log_std, self.sigma = mean.clone(), log_std.clone(), log_std.exp()
        self.noise = (actions - mean) / self.sigma
        self.squares = self.noise.square()

    def score(self, advantages: Tensor) -> tuple[Tensor, Tensor]:
        """Return d log pi / d mean = noise / sigma and d log pi / d log sigma = noise^2 - 1, weighted."""
        share = advantages / len(advantages)
        return share[:, None] * self.noise / self.sigma, share @ self.squares - share.sum()

    def metric(self, rows: Tensor) -> Metric:
        """Return u -> u / sigma^2; see `Likelihood`."""
        precision = self.sigma**-2
        return lambda tangent: tangent * precision

    def compare(self, output: Tensor, log_std: Tensor) -> tuple[float, Tensor]:
        """Return KL and log ratio; see `Likelihood`."""
        moved, ratio, change = output - self.mean, (self.log_std - log_std).exp(), log_std - self.log_std
        shift = moved / log_std.exp()
        kl = (change + (ratio.square() - 1) / 2 + shift.square().mean(0) / 2).sum()
        noise = self.noise * ratio - shift
        return kl.item(), (self.squares - noise.square()).sum(-1) / 2 - change.sum()

    def entropy(self) -> float:
        """Return the mean entropy: sum of log sigma + log(2 pi e) / 2."""
        return (self.log_std + (1 + math.log(2 * math.pi)) / 2).sum().item()


class Categorical:
    """Probabilities in proportion to exp(logits), logits [M, n], and action indices [M]."""

    def __init__(self, logits: Tensor, actions: Tensor):
        self.log_p = logits.log_softmax(-1)
        self.p = self.log_p.exp()
        self.actions = actions[:, None]

    def score(self, advantages: Tensor) -> tuple[Tensor, Tensor]:
        """Return d log pi / d logits = [a] - p, weighted, and nothing for deviations; see `Likelihood`."""
        share = advantages[:, None] / len(advantages)
        return (-share * self.p).scatter_add_(1, self.actions, share), EMPTY.to(share.dtype)

    def metric(self, rows: Tensor) -> Metric:
        """Return u -> p u - p (p . u); see `Likelihood`."""
        p = self.p[rows]
        return lambda tangent: p * (tangent - (p * tangent).sum(-1, keepdim=True))

    def compare(self, output: Tensor, log_std: Tensor) -> tuple[float, Tensor]:
        """Return KL and log ratio; see `Likelihood`."""
        change = output.log_softmax(-1) - self.log_p
        return -(self.p * change).sum(-1).mean().item(), change.gather(1, self.actions)[:, 0]

    def entropy(self) -> float:
        """Return the mean entropy."""
        return -(self.p * self.log_p).sum(-1).mean().item()
