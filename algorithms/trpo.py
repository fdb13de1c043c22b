"""Trust Region Policy Optimization (Schulman et al. 2015): the generator step of experts and of GAIL."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from algorithms.baseline import Baseline, BaselineConfig, explained_variance
from algorithms.jacobian import Perceptron
from algorithms.likelihood import Categorical, Gaussian, Likelihood, Metric
from algorithms.rollout import Rollout
from bench.algorithm import Metrics
from bench.policy import Policy

BACKTRACK = 0.8  # shrinkage of the step per try of the line search
TRIES = 15


class TRPOConfig(BaselineConfig):
    """Settings of the trust-region step."""

    gae_lambda: float = Field(0.97, ge=0, le=1, description="lambda of the advantage estimates [H&E]")
    max_kl: float = Field(0.01, gt=0, description="bound on the mean KL of a step [H&E]")
    cg_damping: float = Field(0.1, ge=0, description="damping of the Fisher matrix [H&E]")
    cg_iterations: int = Field(10, gt=0, description="conjugate gradient iterations [ours: as in Schulman et al. 2015]")
    fisher_samples: int = Field(
        2000, gt=0, description="states of a batch that the Fisher matrix is averaged over [ours: speed]"
    )


def fisher_product(network: Perceptron, metric: Metric, damping: float = 0.0) -> Callable[[Tensor], Tensor]:
    """Return v -> (F + damping I) v, with F the Fisher matrix of the policy averaged over the network's rows.

    F = E[J^T M J] with J the Jacobian of the network's output and M the Fisher matrix of the distribution in its own
    parameters, which is known: `metric` for the output, and 2 for each log sigma. A vector [P + A] has the network's
    layers first, as `Perceptron` orders them, then the log deviations. The image is overwritten by the next call.
    """
    image = torch.empty(0, dtype=network.inputs[0].dtype)
    rows = len(network.inputs[0])

    def product(v: Tensor) -> Tensor:
        image.resize_(v.shape)
        weights, log_std = v[: network.size], v[network.size :]
        tangent = network.push(network.matrices(weights))
        network.pull(metric(tangent) / rows, network.matrices(image[: network.size]))
        torch.mul(log_std, 2, out=image[network.size :])
        return image.add_(v, alpha=damping)

    return product


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float = 1e-10
) -> tuple[Tensor, Tensor]:
    """Solve A x = b for a symmetric positive A, given as v -> A v; stop early at a squared residual of `tolerance`.

    Returns:
        x and A x.
    """
    x, residual, direction = torch.zeros_like(b), b.clone(), b.clone()
    squared = residual @ residual
    for _ in range(iterations):
        if squared <= tolerance:
            break
        image = product(direction)
        length = squared / (direction @ image)
        x += length * direction
        residual -= length * image
        squared, previous = residual @ residual, squared
        direction = residual + (squared / previous) * direction
    return x, b - residual


class TRPO:
    """One trust-region step per batch: maximise the surrogate E[ratio * A] subject to mean KL(old || new) <= max_kl.

    A step is taken only if the surrogate improves and the exact mean KL over the whole batch keeps the bound; else
    the policy stays as it is.
    """

    def __init__(self, policy: Policy, baseline: Baseline, config: TRPOConfig, generator: torch.Generator):
        self.policy, self.baseline, self.config = policy, baseline, config
        self.generator = generator  # draws the states of the Fisher matrix
        self.batch = self.sample = Perceptron(policy.network, 0)

    def update(self, rollout: Rollout, rewards: NDArray) -> Metrics:
        """Improve the policy on a batch under `rewards` [T, N], then the baseline."""
        advantages, targets = self.baseline.advantages(self.policy, rollout, rewards, self.config.gae_lambda)
        x = rollout.x.flatten(0, 1)
        metrics = self.step(x, rollout.actions.flatten(0, 1), torch.from_numpy(advantages).float().flatten())
        self.baseline.fit(x, torch.from_numpy(targets).float().flatten())
        return metrics | {"explained_variance": explained_variance(advantages, targets)}

    @torch.no_grad()
    def step(self, x: Tensor, actions: Tensor, advantages: Tensor) -> Metrics:
        """Take the trust-region step for inputs [M, S], drawn actions [M, ...] and advantages [M]."""
        config, batch, sample = self.config, *self._memory(len(x))
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        old = self._parameters()
        batch.load(x)
        output = batch.forward(batch.matrices(old[: batch.size]))
        batch.linearise()
        likelihood = self._likelihood(output, old[batch.size :], actions)
        # The sample is taken before `pull` and the line search overwrite the memory of the batch.
        rows = torch.randperm(len(x), generator=self.generator)[: len(sample.inputs[0])]
        sample.restrict(batch, rows)
        gradient = torch.empty_like(old)
        cotangent, gradient[batch.size :] = likelihood.score(advantages)
        batch.pull(cotangent, batch.matrices(gradient[: batch.size]))

        product = fisher_product(sample, likelihood.metric(rows), config.cg_damping)
        direction, image = conjugate_gradient(product, gradient, config.cg_iterations)
        full = direction * torch.sqrt(2 * config.max_kl / (direction @ image).clamp(min=1e-12))
        return {**self._search(likelihood, advantages, old, full), "entropy": likelihood.entropy()}

    def _search(self, likelihood: Likelihood, advantages: Tensor, old: Tensor, full: Tensor) -> Metrics:
        """Shrink a step [P + A] until it keeps the bound and improves; take it, or none at all."""
        scale, batch = 1.0, self.batch
        new = torch.empty_like(old)
        for _ in range(TRIES):
            torch.add(old, full, alpha=scale, out=new)
            output = batch.forward(batch.matrices(new[: batch.size]))
            kl, log_ratio = likelihood.compare(output, new[batch.size :])
            improvement = (torch.expm1(log_ratio) @ advantages).item() / len(advantages)
            if improvement > 0 and kl <= self.config.max_kl:
                batch.write(new[: batch.size])
                if not self.policy.discrete:
                    self.policy.log_std.copy_(new[batch.size :])
                return {"kl": kl, "surrogate": improvement, "step_scale": scale}
            scale *= BACKTRACK
        return {"kl": 0.0, "surrogate": 0.0, "step_scale": 0.0}

    def _memory(self, rows: int) -> tuple[Perceptron, Perceptron]:
        """Return the networks for a batch and for the states of its Fisher matrix."""
        if len(self.batch.inputs[0]) != rows:
            self.batch = Perceptron(self.policy.network, rows)
            self.sample = Perceptron(self.policy.network, min(rows, self.config.fisher_samples))
        return self.batch, self.sample

    def _parameters(self) -> Tensor:
        """Return the policy's parameters [P + A]: the network's, then the log deviations of a Gaussian."""
        log_std = 0 if self.policy.discrete else self.policy.action_size
        vector = torch.empty(self.batch.size + log_std, dtype=self.batch.inputs[0].dtype)
        self.batch.read(vector[: self.batch.size])
        if log_std:
            vector[self.batch.size :] = self.policy.log_std
        return vector

    def _likelihood(self, output: Tensor, log_std: Tensor, actions: Tensor) -> Likelihood:
        return Categorical(output, actions) if self.policy.discrete else Gaussian(output, log_std, actions)

    def state_dict(self) -> dict[str, Any]:
        """Return all beside the policy: the baseline and the generator."""
        return {"baseline": self.baseline.state_dict(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.baseline.load_state_dict(state["baseline"])
        self.generator.set_state(state["generator"])
