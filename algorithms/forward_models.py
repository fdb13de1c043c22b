"""The two forward models of the paper (section 3.5, Figure 4): s' = s + f(s, a), and with a memory.

Both predict the change of the normalised state [ours: the same for both; residuals are easier to learn].
"""

from itertools import pairwise
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from algorithms import perceptron
from algorithms.adjoint import ALL, Array, PerceptronTape, aligned
from algorithms.gru import GRUTape
from bench.policy import mlp

COLUMNS = 640  # samples at a time: what they take stays in the caches


class ModelTape(Protocol):
    """What a forward model computed along H steps of B samples, which are columns (see `algorithms.adjoint`)."""

    def load(self) -> None:
        """Read the model's weights as they are now."""
        ...

    def forward(self, t: int, x: Array, u: Array, memory: Array) -> tuple[Array, Array]:
        """Return the change of state and the next memory at a step; without a memory, or at `ALL` of them.

        Args:
            t: step.
            x: state [S, B].
            u: action [A, B].
            memory: [W, B].
        """
        ...

    def pull(self, t: int, to_change: Array, to_memory: Array) -> tuple[Array, Array, Array]:
        """Return the cotangents of a step's x, u and memory for those of its change and next memory."""
        ...


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

    def remember(self, states: Tensor, actions: Tensor, memory: Tensor, done: Tensor) -> Tensor:
        """Return the memory [B, W] behind recorded steps; arguments as for `unroll`."""
        for state, action, end in zip(states, actions, done, strict=True):
            memory = self(state, action, memory)[1] * (1 - end)
        return memory

    def record(self, horizon: int, batch: int) -> ModelTape:
        """Return an empty tape of the model."""
        return GraphModelTape(self, horizon)


class GraphModelTape:
    """The tape of any model: a graph per step."""

    def __init__(self, model: ForwardModel, horizon: int):
        self.model = model
        self.steps: list[tuple[list[Tensor], tuple[Tensor, Tensor]]] = [
            ([], (torch.empty(0), torch.empty(0)))
        ] * horizon

    def load(self) -> None:
        """Do nothing: every step asks the model itself."""

    def forward(self, t: int, x: Array, u: Array, memory: Array) -> tuple[Array, Array]:
        """Return change and memory; see `ModelTape`."""
        if t == ALL:
            return np.stack([self.forward(i, *row, memory)[0] for i, row in enumerate(zip(x, u, strict=True))]), memory
        with torch.enable_grad():
            leaves = [torch.tensor(part.T).requires_grad_() for part in (x, u, memory)]
            self.steps[t] = leaves, self.model(*leaves)
        change, following = self.steps[t][1]
        return change.detach().numpy().T, following.detach().numpy().T

    def pull(self, t: int, to_change: Array, to_memory: Array) -> tuple[Array, Array, Array]:
        """Return the cotangents; see `ModelTape`."""
        leaves, outputs = self.steps[t]
        cotangents = (torch.tensor(to_change.T), torch.tensor(to_memory.T))
        parts = torch.autograd.grad(
            outputs, leaves, cotangents, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return parts[0].numpy().T, parts[1].numpy().T, parts[2].numpy().T


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
        layers = perceptron.relu_layers(self.network)
        assert layers is not None
        samples = torch.cat([states, actions], -1).flatten(0, 1).T
        changes = [perceptron.forward(layers, block)[-1] for block in samples.split(COLUMNS, 1)]
        return torch.cat(changes, 1).T.view_as(states)

    @torch.no_grad()
    def regress(self, x: Tensor, u: Tensor, target: Tensor, weights: Tensor) -> Tensor:
        """Set the gradients of the weighted mean squared error against changes of state; return it.

        Args:
            x: states [M, S].
            u: actions [M, A].
            target: [M, S].
            weights: of the coordinates, [S].
        """
        layers = perceptron.relu_layers(self.network)
        assert layers is not None
        values = perceptron.forward(layers, torch.cat([x, u], -1).T)
        error = values[-1].sub_(target.T)
        weighted = error * weights[:, None]
        cotangents = perceptron.backward(layers, values, weighted * (2 / error.numel()))
        perceptron.set_gradients(layers, values, cotangents)
        return weighted.mul_(error).mean()

    def record(self, horizon: int, batch: int) -> ModelTape:
        """Return as `ForwardModel.record`, without graphs."""
        return BasicTape(self, horizon, batch)


class BasicTape:
    """The tape of the basic model."""

    def __init__(self, model: BasicModel, horizon: int, batch: int):
        size = model.state_size
        self.network = PerceptronTape(model.network, horizon, batch)
        inputs, cotangent = self.network.inputs, self.network.at_input
        self.states = [view[..., :size, :] for view in inputs]
        self.actions = [view[..., size:, :] for view in inputs]
        self.to_state, self.to_action = cotangent[:size], cotangent[size:]

    def load(self) -> None:
        """Read the weights."""
        self.network.load()

    def forward(self, t: int, x: Array, u: Array, memory: Array) -> tuple[Array, Array]:
        """Return change and memory; see `ModelTape`."""
        np.copyto(self.states[t], x)
        np.copyto(self.actions[t], u)
        return self.network.run(t), memory

    def pull(self, t: int, to_change: Array, to_memory: Array) -> tuple[Array, Array, Array]:
        """Return the cotangents; see `ModelTape`."""
        self.network.pull(t, to_change)
        return self.to_state, self.to_action, to_memory


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
        """Return as `ForwardModel.unroll`; only the GRU is sequential."""
        features = self.state_encoder(states)
        if self.carried:
            encodings, _ = self._follow(features, memory, done)
        else:
            rows = features.flatten(0, 1)
            encodings = self.cell(rows, self._memory(rows, memory)).view_as(features)
        return self.head(self.state_gate(encodings) * self.action_gate(actions))

    def remember(self, states: Tensor, actions: Tensor, memory: Tensor, done: Tensor) -> Tensor:
        """Return as `ForwardModel.remember`, from the GRU alone."""
        return self._follow(self.state_encoder(states), memory, done)[1] if self.carried and len(states) else memory

    def _follow(self, features: Tensor, memory: Tensor, done: Tensor) -> tuple[Tensor, Tensor]:
        """Return the GRU's state at every step [H, B, W], and the memory [B, W] behind the last one.

        Between the steps at which some episode ends, torch's loop over steps is several times faster than one here.
        """
        ends = (done.flatten(1).any(1).nonzero().flatten() + 1).tolist()
        encoded = []
        for first, last in pairwise(sorted({0, *ends, len(features)})):
            cell = self.cell
            weights = [cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh]
            steps, _ = torch.gru(features[first:last], memory[None], weights, True, 1, 0.0, False, False, False)
            encoded.append(steps)
            memory = steps[-1] * (1 - done[last - 1])
        return torch.cat(encoded), memory

    def record(self, horizon: int, batch: int) -> ModelTape:
        """Return as `ForwardModel.record`, without graphs."""
        return AdvancedTape(self, horizon, batch)


class AdvancedTape:
    """The tape of the advanced model."""

    def __init__(self, model: AdvancedModel, horizon: int, batch: int):
        self.carried = model.carried
        parts = (model.state_encoder, model.state_gate, model.action_gate, model.head)
        self.encoder, self.state_gate, self.action_gate, self.head = (
            PerceptronTape(part, horizon, batch) for part in parts
        )
        self.cell = GRUTape(model.cell, horizon, batch)
        self.ones = aligned(model.width, batch, dtype=self.cell.n.dtype, value=1)
        self.to_gate = aligned(model.width, batch, dtype=self.cell.n.dtype)

    def load(self) -> None:
        """Read the weights."""
        for part in (self.encoder, self.state_gate, self.action_gate, self.head, self.cell):
            part.load()

    def forward(self, t: int, x: Array, u: Array, memory: Array) -> tuple[Array, Array]:
        """Return change and memory; see `ModelTape`."""
        if t == ALL:
            return np.stack([self.forward(i, *row, memory)[0] for i, row in enumerate(zip(x, u, strict=True))]), memory
        encoded = self.cell.forward(t, self.encoder.forward(t, x), memory if self.carried else self.ones)
        product = self.head.inputs[t]
        np.multiply(self.state_gate.forward(t, encoded), self.action_gate.forward(t, u), out=product)
        return self.head.run(t), encoded if self.carried else memory

    def pull(self, t: int, to_change: Array, to_memory: Array) -> tuple[Array, Array, Array]:
        """Return the cotangents; see `ModelTape`."""
        to_product = self.head.pull(t, to_change)
        p, q = self.state_gate.values[t], self.action_gate.values[t]
        to_u = self.action_gate.pull(t, np.multiply(to_product, p, out=self.to_gate))
        to_encoded = self.state_gate.pull(t, np.multiply(to_product, q, out=to_product))
        if self.carried:
            np.add(to_encoded, to_memory, out=to_encoded)
        to_features, to_previous = self.cell.pull(t, to_encoded)
        return self.encoder.pull(t, to_features), to_u, to_previous if self.carried else to_memory


def make_model(kind: str, state: int, action: int, width: int, memory: str, generator: torch.Generator) -> ForwardModel:
    """Return the `basic` or `advanced` forward model; `memory` is `carried` or `constant` (advanced only)."""
    if kind == "basic":
        return BasicModel(state, action, width, generator)
    return AdvancedModel(state, action, width, generator, carried=memory == "carried")
