"""Networks along a walk: what they computed at every step, and cotangents pulled back through it, step by step.

Algorithm 1's recursion needs vector-Jacobian products with respect to *inputs*, one time step after the other, and one
gradient with respect to the policy's weights at the end. For plain perceptrons and the GRU these are products with
stored activations; NumPy does them, whose calls are several times lighter than torch's where rows are few. Any other
module goes through autograd, and gives the same numbers more slowly.

A tape holds H steps of B rows in memory that is taken once and used pass after pass: `load` reads weights as they are,
and what a tape returns is overwritten when the same step is walked again.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[Any]
Step = int | slice
ALL = slice(None)  # all steps at once
_ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.Sigmoid)


class Tape(Protocol):
    """What a network computed along H steps of B rows."""

    def load(self) -> None:
        """Read the network's weights as they are now."""
        ...

    def forward(self, t: Step, x: Array) -> Array:
        """Return the network's output at a step: [B, I] -> [B, O]; or at all of them: [H, B, I] -> [H, B, O]."""
        ...

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return the cotangent of a step's input for one of its output: [B, O] -> [B, I]."""
        ...

    def gradients(self, cotangents: Array) -> list[Tensor]:
        """Return the gradient of sum_t <cotangent_t, output_t> for every parameter of the network.

        Args:
            cotangents: [H, B, O], those that were pulled.
        """
        ...


def record(network: nn.Module, horizon: int, batch: int, weights: bool = False) -> Tape:
    """Return an empty tape for `horizon` steps of `batch` rows of a network, its weights read.

    `weights`: whether `gradients` will be asked for.
    """
    if isinstance(network, nn.Sequential) and is_perceptron(list(network)):
        return PerceptronTape(network, horizon, batch, weights)
    return GraphTape(network, horizon)


def is_perceptron(layers: Sequence[nn.Module]) -> bool:
    """Whether linear layers take turns with at most one activation each, a linear one first."""
    return all(
        isinstance(layer, nn.Linear)
        or (isinstance(layer, _ACTIVATIONS) and i > 0 and isinstance(layers[i - 1], nn.Linear))
        for i, layer in enumerate(layers)
    ) and bool(layers)


def sigmoid_(x: Array) -> Array:
    """Replace x by 1 / (1 + exp(-x)) = (1 + tanh(x / 2)) / 2."""
    np.multiply(x, 0.5, out=x)
    np.tanh(x, out=x)
    np.add(x, 1.0, out=x)
    return np.multiply(x, 0.5, out=x)


class PerceptronTape:
    """The tape of linear layers and activations."""

    def __init__(self, network: nn.Sequential, horizon: int, batch: int, weights: bool = False):
        layers = list(network)
        self.linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        behind = [*layers[1:], nn.Identity()]
        self.activations = [
            type(after) for layer, after in zip(layers, behind, strict=True) if isinstance(layer, nn.Linear)
        ]
        self.load()
        dtype = self.weights[0].dtype
        sizes = [layer.out_features for layer in self.linear]
        self.inputs = np.empty((horizon, batch, self.linear[0].in_features), dtype)
        self.values = [np.empty((horizon, batch, size), dtype) for size in sizes]
        # Without gradients of weights, all steps share one row of cotangents, which then stays in the caches.
        rows = [np.empty((horizon if weights else 1, batch, size), dtype) for size in sizes]
        self.cotangents = [list(row) if weights else [row[0]] * horizon for row in rows]
        self.kept = rows if weights else None
        self.slopes = [np.empty((batch, size), dtype) for size in sizes]
        self.to_input = np.empty(self.inputs.shape[1:], dtype)

    def load(self) -> None:
        """Read the weights; see `Tape`."""
        self.weights = [array(layer.weight) for layer in self.linear]
        self.transposed = [np.ascontiguousarray(weight.T) for weight in self.weights]
        self.biases = [None if layer.bias is None else array(layer.bias) for layer in self.linear]

    def forward(self, t: Step, x: Array) -> Array:
        """Return the output; see `Tape`."""
        self.inputs[t] = x
        return self.run(t)

    def run(self, t: Step) -> Array:
        """Return the output for what stands in `inputs`."""
        x = self.inputs[t]
        for transposed, bias, activation, values in zip(
            self.transposed, self.biases, self.activations, self.values, strict=True
        ):
            x = np.matmul(x, transposed, out=values[t])
            if bias is not None:
                np.add(x, bias, out=x)
            if activation is nn.ReLU:
                np.maximum(x, 0, out=x)
            elif activation is nn.Tanh:
                np.tanh(x, out=x)
            elif activation is nn.Sigmoid:
                sigmoid_(x)
        return x

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return the input's cotangent; see `Tape`."""
        for i in range(len(self.weights) - 1, -1, -1):
            mine, values, slope = self.cotangents[i][t], self.values[i][t], self.slopes[i]
            if self.activations[i] is nn.ReLU:
                np.multiply(cotangent, np.sign(values, out=slope), out=mine)
            elif self.activations[i] is nn.Tanh:  # 1 - y^2
                np.subtract(1, np.square(values, out=slope), out=slope)
                np.multiply(cotangent, slope, out=mine)
            elif self.activations[i] is nn.Sigmoid:  # y - y^2
                np.subtract(values, np.square(values, out=slope), out=slope)
                np.multiply(cotangent, slope, out=mine)
            elif self.kept is not None:
                mine[...] = cotangent
            else:
                mine = cotangent
            cotangent = np.matmul(mine, self.weights[i], out=self.cotangents[i - 1][t] if i else self.to_input)
        return cotangent

    def gradients(self, cotangents: Array) -> list[Tensor]:
        """Return the parameters' gradients from what was pulled; see `Tape`."""
        assert self.kept is not None
        found: list[Tensor] = []
        for before, mine, bias in zip([self.inputs, *self.values], self.kept, self.biases, strict=False):
            rows = mine.reshape(-1, mine.shape[-1])
            found.append(torch.from_numpy(rows.T @ before.reshape(len(rows), -1)))
            if bias is not None:
                found.append(torch.from_numpy(np.ones(len(rows), rows.dtype) @ rows))
        return found


class GraphTape:
    """The tape of any module: a graph per step."""

    def __init__(self, network: nn.Module, horizon: int):
        self.network = network
        self.steps: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * horizon

    def load(self) -> None:
        """Do nothing: every step asks the network itself."""

    def forward(self, t: Step, x: Array) -> Array:
        """Return the output; see `Tape`."""
        if isinstance(t, slice):
            return np.stack([self.forward(step, row) for step, row in enumerate(x)])
        with torch.enable_grad():
            leaf = torch.tensor(x).requires_grad_()
            self.steps[t] = leaf, self.network(leaf)
        return self.steps[t][1].detach().numpy()

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return the input's cotangent; see `Tape`."""
        leaf, y = self.steps[t]
        return torch.autograd.grad(y, leaf, torch.tensor(cotangent), retain_graph=True)[0].numpy()

    def gradients(self, cotangents: Array) -> list[Tensor]:
        """Return the parameters' gradients from one batched pass; see `Tape`."""
        with torch.enable_grad():
            y = self.network(torch.cat([leaf.detach() for leaf, _ in self.steps]))
        return list(torch.autograd.grad(y, list(self.network.parameters()), torch.from_numpy(cotangents).flatten(0, 1)))


class GRUTape:
    """The tape of a GRU cell: memory' = (1 - z) n + z memory, with reset r, update z, n = tanh(i_n + r h_n).

    r and z are one product of input and memory side by side; arrays of their own keep the rest contiguous.
    """

    def __init__(self, cell: nn.GRUCell, horizon: int, batch: int):
        self.cell = cell
        self.load()
        size, self.width = cell.input_size, cell.hidden_size
        dtype = self.to_both.dtype
        self.inputs = np.empty((batch, size + self.width), dtype)
        self.r_z = np.empty((horizon, batch, 2 * self.width), dtype)
        self.to_r_z, self.slope = np.empty((2, batch, 2 * self.width), dtype)
        self.n, self.h_n, self.changes, self.memories = np.empty((4, horizon, batch, self.width), dtype)
        self.to_n, self.to_h_n, self.kept, self.to_memory = np.empty((4, batch, self.width), dtype)
        self.to_x = np.empty((batch, size), dtype)

    def load(self) -> None:
        """Read the weights."""
        cell, gates = self.cell, 2 * self.cell.hidden_size
        from_x, from_memory = array(cell.weight_ih), array(cell.weight_hh)
        of_x, of_memory = array(cell.bias_ih), array(cell.bias_hh)
        self.to_both = np.concatenate([from_x[:gates], from_memory[:gates]], 1)
        self.both, self.both_bias = np.ascontiguousarray(self.to_both.T), of_x[:gates] + of_memory[:gates]
        self.to_x_n, self.to_memory_n = from_x[gates:], from_memory[gates:]
        self.x_n, self.memory_n = np.ascontiguousarray(self.to_x_n.T), np.ascontiguousarray(self.to_memory_n.T)
        self.x_bias, self.memory_bias = of_x[gates:], of_memory[gates:]

    def forward(self, t: int, x: Array, memory: Array) -> Array:
        """Return the next memory: [B, I], [B, W] -> [B, W]."""
        size, width = self.to_x.shape[1], self.width
        self.inputs[:, :size] = x
        self.inputs[:, size:] = memory
        r_z = np.matmul(self.inputs, self.both, out=self.r_z[t])
        sigmoid_(np.add(r_z, self.both_bias, out=r_z))
        h_n = np.matmul(memory, self.memory_n, out=self.h_n[t])
        np.add(h_n, self.memory_bias, out=h_n)
        n = np.matmul(x, self.x_n, out=self.n[t])
        np.add(n, self.x_bias, out=n)
        following = np.multiply(r_z[:, :width], h_n, out=self.memories[t])
        np.tanh(np.add(n, following, out=n), out=n)
        change = np.subtract(memory, n, out=self.changes[t])
        return np.add(np.multiply(r_z[:, width:], change, out=following), n, out=following)

    def pull(self, t: int, cotangent: Array) -> tuple[Array, Array]:
        """Return the cotangents of input [B, I] and memory [B, W] for one of the next memory [B, W]."""
        size, width = self.to_x.shape[1], self.width
        r_z, n, to_r_z, to_n, to_h_n = self.r_z[t], self.n[t], self.to_r_z, self.to_n, self.to_h_n
        kept = np.multiply(cotangent, r_z[:, width:], out=self.kept)
        np.subtract(1, np.square(n, out=to_h_n), out=to_h_n)  # 1 - n^2
        np.multiply(np.subtract(cotangent, kept, out=to_n), to_h_n, out=to_n)
        np.multiply(to_n, self.h_n[t], out=to_r_z[:, :width])
        np.multiply(cotangent, self.changes[t], out=to_r_z[:, width:])
        slope = np.square(r_z, out=self.slope)
        np.multiply(to_r_z, np.subtract(r_z, slope, out=slope), out=to_r_z)  # y - y^2
        np.multiply(to_n, r_z[:, :width], out=to_h_n)
        to_both = np.matmul(to_r_z, self.to_both, out=self.inputs)
        to_x = np.matmul(to_n, self.to_x_n, out=self.to_x)
        np.add(to_x, to_both[:, :size], out=to_x)
        to_memory = np.matmul(to_h_n, self.to_memory_n, out=self.to_memory)
        np.add(to_memory, kept, out=to_memory)
        return to_x, np.add(to_memory, to_both[:, size:], out=to_memory)


def array(parameter: Tensor) -> Array:
    """Return a copy of a parameter."""
    return np.array(parameter.detach().numpy())
