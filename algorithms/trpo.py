"""Trust Region Policy Optimization (Schulman et al. 2015): the generator step of experts and of GAIL."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, distributions
from torch.nn.utils import parameters_to_vector

from algorithms.baseline import Baseline, BaselineConfig
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


def distribution(policy: Policy, output: Tensor) -> distributions.Distribution:
    """Return pi(.|s) for the network's output: [..., n] logits, or [..., A] means of normalised actions."""
    if policy.discrete:
        return distributions.Categorical(logits=output, validate_args=False)
    normal = distributions.Normal(output, policy.log_std.exp().expand_as(output), validate_args=False)
    return distributions.Independent(normal, 1, validate_args=False)


def fisher_product(policy: Policy, x: Tensor, damping: float = 0.0) -> Callable[[Tensor], Tensor]:
    """Return v -> (F + damping I) v, with F the Fisher matrix of the policy averaged over x [M, S].

    F = E[J^T M J] with J the Jacobian of the network's output and M the Fisher matrix of the distribution in its own
    parameters, which is known: diag(p) - p p^T for logits, 1/sigma^2 for means and 2 for each log sigma. Jv comes from
    differentiating J^T u with respect to u, so any network will do, and no second derivative of a KL is needed.
    """
    named = dict(policy.named_parameters())
    sizes = [parameter.numel() for parameter in named.values()]
    weights = [parameter for name, parameter in named.items() if name != "log_std"]
    output = policy(x)
    cotangent = torch.zeros_like(output, requires_grad=True)
    transposed = torch.autograd.grad(output, weights, cotangent, create_graph=True)  # J^T u, linear in u
    if policy.discrete:
        p = output.detach().softmax(-1)

        def metric(tangent: Tensor) -> Tensor:
            return p * (tangent - (p * tangent).sum(-1, keepdim=True))
    else:
        precision = torch.exp(-2 * policy.log_std.detach())

        def metric(tangent: Tensor) -> Tensor:
            return precision * tangent

    def product(v: Tensor) -> Tensor:
        pieces = dict(zip(named, v.split(sizes), strict=True))
        directions = [pieces[name].view_as(named[name]) for name in named if name != "log_std"]
        (tangent,) = torch.autograd.grad(transposed, cotangent, directions, retain_graph=True)
        pulled = iter(torch.autograd.grad(output, weights, metric(tangent) / len(x), retain_graph=True))
        fisher = [2 * pieces[name] if name == "log_std" else next(pulled).reshape(-1) for name in named]
        return torch.cat(fisher) + damping * v

    return product


def assign(parameters: Iterable[Tensor], vector: Tensor) -> None:
    """Copy a flat vector into parameters, in place (views of it would make later results depend on its alignment)."""
    offset = 0
    for parameter in parameters:
        parameter.copy_(vector[offset : offset + parameter.numel()].view_as(parameter))
        offset += parameter.numel()


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    """Solve A x = b for a symmetric positive A, given as v -> A v; stop early at a squared residual of `tolerance`."""
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
    return x


class TRPO:
    """One trust-region step per batch: maximise the surrogate E[ratio * A] subject to mean KL(old || new) <= max_kl.

    A step is taken only if the surrogate improves and the exact mean KL over the whole batch keeps the bound; else
    the policy stays as it is.
    """

    def __init__(self, policy: Policy, baseline: Baseline, config: TRPOConfig, generator: torch.Generator):
        self.policy, self.baseline, self.config = policy, baseline, config
        self.generator = generator  # draws the states of the Fisher matrix

    def update(self, rollout: Rollout, rewards: NDArray) -> Metrics:
        """Improve the policy on a batch under `rewards` [T, N], then the baseline."""
        advantages, targets = self.baseline.advantages(self.policy, rollout, rewards, self.config.gae_lambda)
        x = rollout.x.flatten(0, 1)
        metrics = self.step(x, rollout.actions.flatten(0, 1), torch.from_numpy(advantages).float().flatten())
        explained = self.baseline.fit(x, torch.from_numpy(targets).float().flatten())
        return metrics | {"explained_variance": explained}

    def step(self, x: Tensor, actions: Tensor, advantages: Tensor) -> Metrics:
        """Take the trust-region step for inputs [M, S], drawn actions [M, ...] and advantages [M]."""
        policy, config = self.policy, self.config
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        parameters = list(policy.parameters())
        old = distribution(policy, policy(x))  # its tensors are not the parameters', so it stays what it was
        log_prob = old.log_prob(actions)
        surrogate = (torch.exp(log_prob - log_prob.detach()) * advantages).mean()
        gradient = torch.cat([g.reshape(-1) for g in torch.autograd.grad(surrogate, parameters)])

        count = min(len(x), config.fisher_samples)
        subset = torch.randperm(len(x), generator=self.generator)[:count]
        product = fisher_product(policy, x[subset], config.cg_damping)
        direction = conjugate_gradient(product, gradient, config.cg_iterations)
        curvature = direction @ product(direction)
        full = direction * torch.sqrt(2 * config.max_kl / curvature.clamp(min=1e-12))

        with torch.no_grad():
            entropy = old.entropy().mean().item()
            start = parameters_to_vector(parameters).clone()
            scale, kl, improvement = 1.0, 0.0, 0.0
            for _ in range(TRIES):
                assign(parameters, start + scale * full)
                new = distribution(policy, policy(x))
                kl = distributions.kl_divergence(old, new).mean().item()
                ratio = torch.exp(new.log_prob(actions) - log_prob)
                improvement = ((ratio * advantages).mean() - surrogate).item()
                if improvement > 0 and kl <= config.max_kl:
                    break
                scale *= BACKTRACK
            else:
                assign(parameters, start)
                scale, kl, improvement = 0.0, 0.0, 0.0
        return {"kl": kl, "surrogate": improvement, "step_scale": scale, "entropy": entropy}

    def state_dict(self) -> dict[str, Any]:
        """Return all beside the policy: the baseline and the generator."""
        return {"baseline": self.baseline.state_dict(), "generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.baseline.load_state_dict(state["baseline"])
        self.generator.set_state(state["generator"])
