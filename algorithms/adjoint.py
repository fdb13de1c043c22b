"""Networks along a walk: what they computed at every step, and cotangents pulled back through it, step by step.

Algorithm 1's recursion needs vector-Jacobian products with respect to *inputs*, one time step after the other, and one
gradient with respect to the policy's weights. For plain perceptrons and the GRU (`algorithms.gru`) these are
products with stored activations; NumPy does them, whose calls are several times lighter than torch's where samples are
few. Any other module goes through autograd, and gives the same numbers more slowly.

Samples are columns: a step is [features, B]. Weights [out, in] then multiply from the left as they lie in memory, and
thin products (few inputs or outputs) are up to twice as fast. What a layer reads ends in a row of ones, which the bias
multiplies.

A tape holds H steps of B samples in memory that is taken once and used pass after pass: `load` reads weights as they
are. What `forward` returns is overwritten when the same step is walked again, what `pull` returns by the next `pull`.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Array = NDArray[Any]
Operation = Callable[[], Any]  # a function with its operands and the place of its result
ALL = -1  # in the place of a step: all of them at once
WIDE = 128  # columns of a step from which on torch multiplies
_ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.Sigmoid)


class Tape(Protocol):
    """What a network computed along H steps of B samples."""

    def load(self) -> None:
        """Read the network's weights as they are now."""
        ...

    def forward(self, t: int, x: Array) -> Array:
        """Return the network's output at a step: [I, B] -> [O, B]; or at `ALL` of them: [H, I, B] -> [H, O, B]."""
        ...

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return the cotangent of the input of a step for one of the output: [O, B] -> [I, B]."""
        ...

    def gradients(self) -> list[Tensor]:
        """Return every parameter's gradient of sum_t <cotangent_t, output_t>, over what was pulled; begin a new sum."""
        ...


def record(network: nn.Module, horizon: int, batch: int, weights: bool = False) -> Tape:
    """Return an empty tape for `horizon` steps of `batch` samples of a network, its weights read.

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


def steps_of(array: Array) -> list[Array]:
    """Return views of all steps [H, ...] and, at `ALL`, the array itself; made once, they cost nothing in a walk."""
    return [*array, array]


def aligned(*shape: int, dtype: Any, value: float = 0) -> Array:
    """Return an array in memory of torch's, which is aligned to cache lines: every run then rounds alike, and fast."""
    return torch.full(shape, value, dtype=torch.from_numpy(np.empty(0, dtype)).dtype).numpy()


def mean_with_one(x: Array) -> Array:
    """Replace x = tanh(z / 2) by (1 + x) / 2 = 1 / (1 + exp(-z))."""
    np.add(x, 1.0, out=x)
    return np.multiply(x, 0.5, out=x)


def by_torch(a: Array, b: Array, out: Array) -> Array:
    """Return a @ b: the faster library's product where there are many columns, which outweigh its heavier calls."""
    torch.mm(torch.from_numpy(a), torch.from_numpy(b), out=torch.from_numpy(out))
    return out


class Layer:
    """A linear layer and the activation behind it, along H steps.

    The units of a hidden ReLU are held negated, min(-z, 0): a value's sign bit, drawn out over all of its bits, is then
    the mask that lets a cotangent pass. The next layer turns the sign of its weights.

    Attributes:
        values: [H, O + 1, B], the next layer's inputs, the last row of ones.
        sign: -1 if the values are held negated.
        mine: [O, B], the place of the linear part's cotangents, which then stays in the caches.
    """

    def __init__(self, linear: nn.Linear, activation: type[nn.Module], inputs: Array, sign: int, last: bool):
        self.linear, self.activation, self.input_sign = linear, activation, sign
        self.sign = -1 if activation is nn.ReLU and not last else 1
        horizon, _, batch = inputs.shape
        dtype, size = inputs.dtype, linear.out_features
        self.weights, self.total, self.part = aligned(3, size, linear.in_features + 1, dtype=dtype)
        self.rows = aligned(batch, linear.in_features + 1, dtype=dtype)
        self.values = aligned(horizon, size + 1, batch, dtype=dtype, value=1)
        self.x, self.y = steps_of(inputs), steps_of(self.values[:, :-1])
        self.zeros, self.slope, self.mine = aligned(3, size, batch, dtype=dtype)
        self.to_input = aligned(size, linear.in_features, dtype=dtype).T
        wide = horizon == 1 and batch >= WIDE
        self.product: Callable[..., Array] = by_torch if wide else np.matmul
        self.outer: Callable[..., Array] = self.product if size > 1 or wide else np.multiply  # of a column and a row
        self.load()

    def load(self) -> None:
        """Read the weights."""
        np.copyto(self.to_input.T, self.linear.weight.detach().numpy())
        half = 0.5 if self.activation is nn.Sigmoid else 1.0  # sigmoid(z) = (1 + tanh(z / 2)) / 2
        np.multiply(self.to_input.T, self.input_sign * self.sign * half, out=self.weights[:, :-1])
        bias = self.linear.bias
        self.weights[:, -1] = 0.0 if bias is None else self.sign * half * bias.detach().numpy()
        self.total.fill(0)

    def up(self, t: int) -> list[Operation]:
        """Return the operations from the inputs of a step to its values."""
        y = self.y[t]
        product = np.matmul if t == ALL else self.product  # torch's takes no stack of steps, be there but one
        found: list[Operation] = [partial(product, self.weights, self.x[t], out=y)]
        if self.activation is nn.ReLU:
            found.append(partial(np.minimum if self.sign < 0 else np.maximum, y, self.zeros, out=y))
        elif self.activation is not nn.Identity:
            found.append(partial(np.tanh, y, out=y))
        return [*found, partial(mean_with_one, y)] if self.activation is nn.Sigmoid else found

    def down(self, t: int, count: bool, place: Array) -> list[Operation]:
        """Return the operations from the values' cotangent, which stands in `mine`, to the inputs', in `place`.

        `count`: on the way they add to the gradients of the weights.
        """
        y, slope, mine = self.y[t], self.slope, self.mine
        found: list[Operation] = []
        if self.sign < 0:
            bits = np.dtype(f"i{y.itemsize}")
            mask, masked = slope.view(bits), mine.view(bits)
            found.append(partial(np.right_shift, y.view(bits), np.array(8 * y.itemsize - 1, bits), out=mask))
            found.append(partial(np.bitwise_and, masked, mask, out=masked))
        elif self.activation is not nn.Identity:
            if self.activation is nn.ReLU:
                found.append(partial(np.sign, y, out=slope))
            else:  # 1 - y^2 or y - y^2
                found.append(partial(np.square, y, out=slope))
                found.append(partial(np.subtract, 1 if self.activation is nn.Tanh else y, slope, out=slope))
            found.append(partial(np.multiply, mine, slope, out=mine))
        if count:  # a transposed copy costs less than a product with a transposed right side
            found.append(partial(np.copyto, self.rows, self.x[t].T))
            found.append(partial(np.matmul, mine, self.rows, out=self.part))
            found.append(partial(np.add, self.total, self.part, out=self.total))
        return [*found, partial(self.outer, self.to_input, mine, out=place)]

    def gradients(self) -> list[Tensor]:
        """Return the gradients of weight and bias over the steps that were counted, and count anew."""
        weight, bias = self.total[:, :-1] * self.input_sign, self.total[:, -1].copy()
        self.total.fill(0)
        return [torch.from_numpy(part) for part in ([weight] if self.linear.bias is None else [weight, bias])]


class PerceptronTape:
    """The tape of linear layers and activations: a list of operations for every step, written down once.

    Attributes:
        inputs: [I, B] of every step, to be written before `run`.
        values: [O, B] of every step, the outputs.
        at_input: [I, B], what `pull` returns.
    """

    def __init__(self, network: nn.Sequential, horizon: int, batch: int, weights: bool = False):
        modules = [*network, nn.Identity()]
        pairs = [(one, type(after)) for one, after in pairwise(modules) if isinstance(one, nn.Linear)]
        first = pairs[0][0]
        dtype = array(first.weight).dtype
        inputs = aligned(horizon, first.in_features + 1, batch, dtype=dtype, value=1)
        self.inputs = steps_of(inputs[:, :-1])
        self.at_input = aligned(first.in_features, batch, dtype=dtype)
        self.layers: list[Layer] = []
        read, sign = inputs, 1
        for number, (linear, after) in enumerate(pairs, 1):
            activation = after if after in _ACTIVATIONS else nn.Identity
            layer = Layer(linear, activation, read, sign, number == len(pairs))
            self.layers.append(layer)
            read, sign = layer.values, layer.sign
        self.values = self.layers[-1].y
        self.at_output = self.layers[-1].mine
        places = [self.at_input, *(layer.mine for layer in self.layers)]
        downwards = list(zip(self.layers, places, strict=False))[::-1]
        self.up = [[one for layer in self.layers for one in layer.up(t)] for t in (*range(horizon), ALL)]
        self.down = [
            [one for layer, place in downwards for one in layer.down(t, weights, place)] for t in range(horizon)
        ]

    def load(self) -> None:
        """Read the weights; see `Tape`."""
        for layer in self.layers:
            layer.load()

    def forward(self, t: int, x: Array) -> Array:
        """Return the output; see `Tape`."""
        np.copyto(self.inputs[t], x)
        return self.run(t)

    def run(self, t: int) -> Array:
        """Return the output for what stands in `inputs`."""
        for operation in self.up[t]:
            operation()
        return self.values[t]

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return the input's cotangent; see `Tape`."""
        np.copyto(self.at_output, cotangent)
        for operation in self.down[t]:
            operation()
        return self.at_input

    def gradients(self) -> list[Tensor]:
        """Return the parameters' gradients; see `Tape`."""
        return [part for layer in self.layers for part in layer.gradients()]


class GraphTape:
    """The tape of any module: a graph per step, whose samples are rows."""

    def __init__(self, network: nn.Module, horizon: int):
        self.network = network
        self.steps: list[tuple[Tensor, Tensor]] = [(torch.empty(0), torch.empty(0))] * horizon
        self.pulled: list[tuple[Tensor, Tensor]] = []

    def load(self) -> None:
        """Forget what was pulled; every step asks the network itself."""
        self.pulled = []

    def forward(self, t: int, x: Array) -> Array:
        """Return the output; see `Tape`."""
        if t == ALL:
            return np.stack([self.forward(step, row) for step, row in enumerate(x)])
        with torch.enable_grad():
            leaf = torch.tensor(x.T).requires_grad_()
            self.steps[t] = leaf, self.network(leaf)
        return self.steps[t][1].detach().numpy().T

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return the input's cotangent; see `Tape`."""
        leaf, y = self.steps[t]
        rows = torch.tensor(cotangent.T)
        self.pulled.append((leaf.detach(), rows))
        return torch.autograd.grad(y, leaf, rows, retain_graph=True)[0].numpy().T

    def gradients(self) -> list[Tensor]:
        """Return the parameters' gradients from one batched pass; see `Tape`."""
        x, cotangents = (torch.cat(parts) for parts in zip(*self.pulled, strict=True))
        self.pulled = []
        with torch.enable_grad():
            y = self.network(x)
        return list(torch.autograd.grad(y, list(self.network.parameters()), cotangents))


def array(parameter: Tensor) -> Array:
    """Return a copy of a parameter."""
    return np.array(parameter.detach().numpy())
