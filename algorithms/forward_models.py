"""The two forward models of the paper (section 3.5, Figure 4): s' = s + f(s, a), and with a memory.

Both predict the change of the normalised state [ours: the same for both; residuals are easier to learn].
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from algorithms.adjoint import record, record_gru
from bench.policy import mlp

Pull = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


class ForwardModel(nn.Module):
    """(state [B, S], action [B, A], memory [B, W]) -> (change of state [B, S], next memory [B, W]).

    The memory is zero at an episode's start. A user's own model gives `forward` and `memory_size` (0: no memory);
    `record` below serves any, by autograd.
    """

    memory_size: int

    def unroll(self, states: Tensor, actions: Tensor, memory: Tensor, done: Tensor) -> Tensor:
        """Return the predicted change at every recorded step; the memory starts anew behind an episode's end.

        Args:
            states: [H, B, S].
            actions: [H, B, A].
            memory: [B, W].
            done: [H, B, 1].

        Returns:
            [H, B, S].
        """
        changes = []
        for state, action, end in zip(states, actions, done, strict=True):
            change, memory = self(state, action, memory)
            memory = memory * (1 - end)
            changes.append(change)
        return torch.stack(changes)

    def record(self, x: Tensor, u: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Pull]:
        """Return the change, the next memory and a pullback of their cotangents to x, u and memory."""
        with torch.enable_grad():
            leaves = [part.detach().requires_grad_() for part in (x, u, memory)]
            outputs = self(*leaves)

        def pullback(to_change: Tensor, to_memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            parts = torch.autograd.grad(
                outputs, leaves, (to_change, to_memory), retain_graph=True, allow_unused=True, materialize_grads=True
            )
            return parts[0], parts[1], parts[2]

        return outputs[0].detach(), outputs[1].detach(), pullback


class BasicModel(ForwardModel):
    """Figure 4, top: concatenate state and action, two hidden layers, change of state."""

    memory_size = 0

    def __init__(self, state: int, action: int, width: int, generator: torch.Generator):
        super().__init__()
        self.state_size = state
        self.network = mlp([state + action, width, width, state], generator=generator)

    def forward(self, x: Tensor, u: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return the change of state; the empty memory passes through."""
        return self.network(torch.cat([x, u], -1)), memory

    def unroll(self, states: Tensor, actions: Tensor, memory: Tensor, done: Tensor) -> Tensor:
        """Return as `ForwardModel.unroll`, all steps at once."""
        return self(states, actions, memory)[0]

    def record(self, x: Tensor, u: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Pull]:
        """Return as `ForwardModel.record`, from stored activations."""
        change, pull = record(self.network, torch.cat([x, u], -1))

        def pullback(to_change: Tensor, to_memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            to_input = pull(to_change)
            return to_input[..., : self.state_size], to_input[..., self.state_size :], to_memory

        return change, memory, pullback


class AdvancedModel(ForwardModel):
    """Figure 4, bottom: state encoder with a GRU, action encoder, Hadamard product, network.

    Layer types and their order follow the authors' code; `carried` keeps the GRU's state along the episode (the n-th
    order memory of section 3.5), otherwise it is fed a constant state of ones and its output state is dropped [code].
    """

    def __init__(self, state: int, action: int, width: int, generator: torch.Generator, carried: bool = True):
        super().__init__()
        self.width = width
        self.carried = carried
        self.memory_size = width if carried else 0
        self.state_encoder = nn.Sequential(*mlp([state, width], generator=generator), nn.ReLU())
        self.cell = nn.GRUCell(width, width)
        with torch.no_grad():
            for weight in self.cell.parameters():
                weight.uniform_(-(width**-0.5), width**-0.5, generator=generator)
        self.state_gate = nn.Sequential(*mlp([width, width], generator=generator), nn.Sigmoid())
        self.action_gate = nn.Sequential(*mlp([action, width, width], generator=generator), nn.Sigmoid())
        self.head = mlp([width, width, width, width, state], generator=generator)

    def _memory(self, x: Tensor, memory: Tensor) -> Tensor:
        return memory if self.carried else x.new_ones(x.shape[0], self.width)

    def forward(self, x: Tensor, u: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return the change of state and the next memory."""
        encoded = self.cell(self.state_encoder(x), self._memory(x, memory))
        change = self.head(self.state_gate(encoded) * self.action_gate(u))
        return change, encoded if self.carried else memory

    def unroll(self, states: Tensor, actions: Tensor, memory: Tensor, done: Tensor) -> Tensor:
        """Return as `ForwardModel.unroll`; only the GRU goes step by step."""
        features = self.state_encoder(states)
        if self.carried:
            encoded = []
            for feature, end in zip(features, done, strict=True):
                encoded.append(self.cell(feature, memory))
                memory = encoded[-1] * (1 - end)
            encodings = torch.stack(encoded)
        else:
            rows = features.flatten(0, 1)
            encodings = self.cell(rows, self._memory(rows, memory)).view_as(features)
        return self.head(self.state_gate(encodings) * self.action_gate(actions))

    def record(self, x: Tensor, u: Tensor, memory: Tensor) -> tuple[Tensor, Tensor, Pull]:
        """Return as `ForwardModel.record`, from stored activations."""
        features, pull_features = record(self.state_encoder, x)
        encoded, pull_cell = record_gru(self.cell, features, self._memory(x, memory))
        p, pull_p = record(self.state_gate, encoded)
        q, pull_q = record(self.action_gate, u)
        change, pull_head = record(self.head, p * q)

        def pullback(to_change: Tensor, to_memory: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            to_product = pull_head(to_change)
            to_encoded = pull_p(to_product * q)
            if self.carried:
                to_encoded = to_encoded + to_memory
            to_features, to_previous = pull_cell(to_encoded)
            return pull_features(to_features), pull_q(to_product * p), to_previous if self.carried else to_memory

        return change, encoded if self.carried else memory, pullback


def make_model(kind: str, state: int, action: int, width: int, memory: str, generator: torch.Generator) -> ForwardModel:
    """Return the `basic` or `advanced` forward model; `memory` is `carried` or `constant` (advanced only)."""
    if kind == "basic":
        return BasicModel(state, action, width, generator)
    return AdvancedModel(state, action, width, generator, carried=memory == "carried")
