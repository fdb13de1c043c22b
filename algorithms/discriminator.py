"""The discriminator of GAIL and MGAIL: D(s, a) = probability that the pair comes from the *agent* (paper, eq. 3).

Logits are positive for the agent: D = sigmoid(logit). It maximises E_agent[log D] + E_expert[log(1 - D)].
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from bench.policy import mlp


def discriminator_loss(agent_logits: Tensor, expert_logits: Tensor, expert_weight: float = 1.0) -> Tensor:
    """Return the cross entropy -E_agent[log D] - w E_expert[log(1 - D)] of logits [B]; the paper has w = 1.

    -log sigmoid(x) = softplus(-x) and -log(1 - sigmoid(x)) = softplus(x).
    """
    assert agent_logits.ndim == expert_logits.ndim == 1
    return softplus(-agent_logits).mean() + expert_weight * softplus(expert_logits).mean()


def input_slope(network: nn.Module, x: Tensor) -> Tensor:
    """Return d logit / d x at points x [B, I] -> [B, I], differentiable with respect to the weights.

    For a ReLU perceptron W3 relu(W2 relu(W1 x)) it is the product W3 diag(on2) W2 diag(on1) W1, and which units are on
    does not depend on small changes of the weights; anything else is differentiated twice.
    """
    if isinstance(network, nn.Sequential) and all(isinstance(layer, nn.Linear | nn.ReLU) for layer in network):
        with torch.no_grad():
            on = []
            for layer in list(network)[:-1]:
                x = layer(x)
                if isinstance(layer, nn.ReLU):
                    on.append((x > 0).to(x.dtype))
        linear = [layer for layer in network if isinstance(layer, nn.Linear)]
        slope = linear[-1].weight
        for layer, mask in zip(linear[-2::-1], on[::-1], strict=True):
            slope = (slope * mask) @ layer.weight
        return slope
    x = x.detach().requires_grad_()
    return torch.autograd.grad(network(x).sum(), x, create_graph=True)[0]


def gradient_penalty(network: nn.Module, x: Tensor) -> Tensor:
    """Return the mean of max(0, |d logit / d x| - 1)^2 over points x [B, I]: slopes above one are charged."""
    return (input_slope(network, x).norm(dim=-1) - 1).clamp_min(0).square().mean()


class Dropout(nn.Module):
    """Drops a share of its inputs at random, from a stream of its own, and scales up what is left."""

    def __init__(self, share: float, generator: torch.Generator):
        super().__init__()
        self.kept = 1 - share
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Return x [..., I] with units dropped."""
        return x * torch.empty_like(x).bernoulli_(self.kept, generator=self.generator) / self.kept


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
        dropout: float = 0.0,
        expert_weight: float = 1.0,
    ):
        self.network = mlp([inputs, *hidden, 1], generator=init)
        if dropout:
            self.network.insert(len(self.network) - 1, Dropout(dropout, generator))
        self.optimiser = torch.optim.Adam(self.network.parameters(), learning_rate, fused=True)
        self.penalty = penalty
        self.generator = generator
        self.expert_weight = expert_weight

    def logits(self, x: Tensor) -> Tensor:
        """Return logits, positive for the agent: [..., I] -> [...]."""
        return self.network(x).squeeze(-1)

    def update(self, agent: Tensor, expert: Tensor) -> dict[str, float]:
        """Take one step on equally many agent and expert rows [B, I]; the penalty acts on lines between them."""
        agent_logits, expert_logits = self.logits(torch.cat([agent, expert])).chunk(2)
        loss = discriminator_loss(agent_logits, expert_logits, self.expert_weight)
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
