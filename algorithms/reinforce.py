"""REINFORCE with a baseline (Williams 1992): the other generator step of GAIL."""

from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from algorithms.baseline import Baseline, BaselineConfig, explained_variance
from algorithms.likelihood import distribution
from algorithms.rollout import Rollout
from bench.algorithm import Metrics
from bench.policy import Policy


class ReinforceConfig(BaselineConfig):
    """Settings of the REINFORCE step."""

    policy_learning_rate: float = Field(1e-2, gt=0, description="Adam step size of a REINFORCE policy [ours: tuned]")


def policy_gradient_loss(log_probs: Tensor, advantages: Tensor) -> Tensor:
    """Return -mean(log pi(a|s) A), whose gradient is minus the REINFORCE estimate; both [M]."""
    assert log_probs.shape == advantages.shape
    return -(log_probs * advantages.detach()).mean()


class Reinforce:
    """One Adam step per batch along the score-function gradient; advantages are whole returns minus the baseline."""

    def __init__(self, policy: Policy, baseline: Baseline, config: ReinforceConfig):
        self.policy, self.baseline = policy, baseline
        self.optimizer = torch.optim.Adam(policy.parameters(), config.policy_learning_rate, fused=True)

    def update(self, rollout: Rollout, rewards: NDArray) -> Metrics:
        """Improve the policy on a batch under `rewards` [T, N], then the baseline."""
        estimates, targets = self.baseline.advantages(self.policy, rollout, rewards, lambda_=1.0)
        x = rollout.x.flatten(0, 1)
        advantages = torch.from_numpy(estimates).float().flatten()
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        current = distribution(self.policy, self.policy(x))
        loss = policy_gradient_loss(current.log_prob(rollout.actions.flatten(0, 1)), advantages)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.baseline.fit(x, torch.from_numpy(targets).float().flatten())
        entropy = current.entropy().mean().item()
        return {
            "policy_loss": loss.item(),
            "entropy": entropy,
            "explained_variance": explained_variance(estimates, targets),
        }

    def state_dict(self) -> dict[str, Any]:
        """Return all beside the policy: its optimiser and the baseline."""
        return {"optimizer": self.optimizer.state_dict(), "baseline": self.baseline.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.baseline.load_state_dict(state["baseline"])
