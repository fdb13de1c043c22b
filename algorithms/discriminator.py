"""The discriminator of GAIL and MGAIL: D(s, a) = probability that the pair comes from the *agent* (paper, eq. 3).

Logits are positive for the agent: D = sigmoid(logit). It maximises E_agent[log D] + E_expert[log(1 - D)].
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import sigmoid, softplus

from algorithms import perceptron
from bench.policy import mlp


def discriminator_loss(agent_logits: Tensor, expert_logits: Tensor, expert_weight: float = 1.0) -> Tensor:
    """Return the cross entropy -E_agent[log D] - w E_expert[log(1 - D)] of logits [B]; the paper has w = 1.

    -log sigmoid(x) = softplus(-x) and -log(1 - sigmoid(x)) = softplus(x).
    """
    assert agent_logits.ndim == expert_logits.ndim == 1
    return softplus(-agent_logits).mean() + expert_weight * softplus(expert_logits).mean()


def gradient_penalty(network: nn.Module, x: Tensor, free: float = 1.0) -> Tensor:
    """Return the mean of max(0, |d logit / d x| - free)^2 over points x [B, I]: slopes above `free` are charged."""
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    return (slope.norm(dim=-1) - free).clamp_min(0).square().mean()


@torch.no_grad()
def set_gradients(
    layers: Sequence[nn.Linear], rows: Tensor, batch: int, expert_weight: float, penalty: float, free: float
) -> tuple[Tensor, Tensor]:
    """Set the gradients of `discriminator_loss` plus `penalty` times `gradient_penalty` for a ReLU perceptron.

    Which units are on does not depend on small changes of the weights, so a point's slope W1' on1 W2' on2 W3' is what
    backpropagation of ones gives, and the slope's own gradient is one more way forwards: with q = dP / d slope in the
    place of the input, no biases and the same units on, every layer's weights get <cotangent, value> as ever. Points of
    the penalty therefore go through all products along with the pairs; only their values are exchanged in between.

    Args:
        layers: of D.
        rows: [2 B, I] agent rows, then expert rows; or [3 B, I], points of the penalty behind them.
        batch: B.
        expert_weight: w.
        penalty: weight of the penalty.
        free: slope up to which it charges nothing.

    Returns:
        The logits [2 B], and the loss [].
    """
    values = perceptron.forward(layers, rows.T)
    pairs = 2 * batch
    logits = values[-1][0, :pairs]
    agent, expert = logits.split(batch)
    loss = discriminator_loss(agent, expert, expert_weight)
    cotangent = torch.ones_like(values[-1])
    torch.mul(sigmoid(-agent), -1 / batch, out=cotangent[0, :batch])
    torch.mul(sigmoid(expert), expert_weight / batch, out=cotangent[0, batch:pairs])
    cotangents = perceptron.backward(layers, values, cotangent)
    if len(rows) > pairs:
        slope = layers[0].weight.T @ cotangents[0][:, pairs:]
        norm = slope.norm(dim=0)
        excess = (norm - free).clamp_min_(0)
        loss = loss + penalty * excess.square().mean()
        passed = slope.mul_(excess / norm.clamp_min_(free) * (2 * penalty / batch))
        values[0] = torch.cat([rows[:pairs].T, passed], 1)
        for layer, value in zip(layers, values[1:-1], strict=False):
            points = value[:, pairs:]
            passed = perceptron.masked(layer.weight @ passed, points)
            points.copy_(passed)
    perceptron.set_gradients(layers, values, cotangents, pairs)
    return logits, loss


class Dropout(nn.Module):
    """Drops a share of its inputs at random, from a stream of its own, and scales up what is left."""

    def __init__(self, share: float, generator: torch.Generator):
        super().__init__()
        self.kept = 1 - share
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        """Return x [..., I] with units dropped."""
        return x * torch.empty_like(x).bernoulli_(self.kept, generator=self.generator) / self.kept


def reward(logits: Tensor, form: str) -> Tensor:
    """Return GAIL's reward for logits of D = p(agent): -log D (``positive``) or log(1 - D) (``negative``)."""
    return softplus(-logits) if form == "positive" else -softplus(logits)


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
        slope: float = 1.0,
    ):
        self.network = mlp([inputs, *hidden, 1], generator=init)
        if dropout:
            self.network.insert(len(self.network) - 1, Dropout(dropout, generator))
        self.optimiser = torch.optim.Adam(self.network.parameters(), learning_rate, fused=True)
        self.penalty = penalty
        self.slope = slope
        self.generator = generator
        self.expert_weight = expert_weight

    def logits(self, x: Tensor) -> Tensor:
        """Return logits, positive for the agent: [..., I] -> [...]."""
        return self.network(x).squeeze(-1)

    def update(self, agent: Tensor, expert: Tensor) -> dict[str, float]:
        """Take one step on equally many agent and expert rows [B, I]; the penalty acts on lines between them."""
        layers, batch = perceptron.relu_layers(self.network), len(agent)
        if layers is None:
            logits, loss = self._differentiate(agent, expert)
        else:
            rows = [agent, expert, self._between(agent, expert)] if self.penalty else [agent, expert]
            logits, loss = set_gradients(layers, torch.cat(rows), batch, self.expert_weight, self.penalty, self.slope)
        self.optimiser.step()
        right = (logits[:batch] > 0).count_nonzero() + (logits[batch:] < 0).count_nonzero()
        return {"discriminator_loss": loss.item(), "discriminator_accuracy": right.item() / len(logits)}

    def _between(self, agent: Tensor, expert: Tensor) -> Tensor:
        """Return a random point on the line between every two rows [B, I]."""
        return torch.lerp(expert, agent, torch.empty(len(agent), 1).uniform_(generator=self.generator))

    def _differentiate(self, agent: Tensor, expert: Tensor) -> tuple[Tensor, Tensor]:
        """Set the gradients by autograd, which knows any network; return logits [2 B] and the loss []."""
        logits = self.logits(torch.cat([agent, expert]))
        of_agent, of_expert = logits.chunk(2)
        loss = discriminator_loss(of_agent, of_expert, self.expert_weight)
        if self.penalty:
            loss = loss + self.penalty * gradient_penalty(self.network, self._between(agent, expert), self.slope)
        self.optimiser.zero_grad()
        loss.backward()
        return logits.detach(), loss.detach()

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
