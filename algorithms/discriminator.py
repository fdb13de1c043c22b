"""The discriminator of GAIL and MGAIL: D(s, a) = probability that the pair comes from the *agent* (paper, eq. 3).

Logits are positive for the agent: D = sigmoid(logit). It maximises E_agent[log D] + E_expert[log(1 - D)].
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from bench.policy import mlp


def discriminator_loss(agent_logits: Tensor, expert_logits: Tensor) -> Tensor:
    """Return the cross entropy -E_agent[log D] - E_expert[log(1 - D)] of logits [B].

    -log sigmoid(x) = softplus(-x) and -log(1 - sigmoid(x)) = softplus(x).
    """
    assert agent_logits.ndim == expert_logits.ndim == 1
    return softplus(-agent_logits).mean() + softplus(expert_logits).mean()


def gradient_penalty(network: nn.Module, x: Tensor) -> Tensor:
    """Return the mean of max(0, |d logit / d x| - 1)^2 over points x [B, I]: slopes above one are charged."""
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    return (slope.norm(dim=-1) - 1).clamp_min(0).square().mean()


class Discriminator:
    """A network on normalised (state, action) rows [B, S + A] -> logit [B], and its optimiser."""

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        learning_rate: float,
        penalty: float,
        init: torch.Generator,
        generator: torch.Generator,
    ):
        self.network = mlp([inputs, *hidden, 1], generator=init)
        self.optimiser = torch.optim.Adam(self.network.parameters(), learning_rate, foreach=True)
        self.penalty = penalty
        self.generator = generator

    def logits(self, x: Tensor) -> Tensor:
        """Return logits, positive for the agent: [..., I] -> [...]."""
        return self.network(x).squeeze(-1)

    def update(self, agent: Tensor, expert: Tensor) -> dict[str, float]:
        """Take one step on equally many agent and expert rows [B, I]; the penalty acts on lines between them."""
        agent_logits, expert_logits = self.logits(torch.cat([agent, expert])).chunk(2)
        loss = discriminator_loss(agent_logits, expert_logits)
        if self.penalty:
            mix = torch.empty(len(agent), 1).uniform_(generator=self.generator)
            loss = loss + self.penalty * gradient_penalty(self.network, torch.lerp(expert, agent, mix))
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        with torch.no_grad():
            accuracy = ((agent_logits > 0).float().mean() + (expert_logits < 0).float().mean()) / 2
        return {"discriminator_loss": loss.item(), "discriminator_accuracy": accuracy.item()}

    def state_dict(self) -> dict[str, object]:
        """Return weights, optimiser and generator."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict) -> None:
        """Restore what `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
