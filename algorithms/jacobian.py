"""A ReLU or tanh perceptron on large batches, differentiated by hand in memory that is taken once.

A trust-region step needs three things of a network: its output, a gradient J^T c, and for Fisher products a tangent
Jv. Each is a few matrix products; automatic differentiation adds its graphs, and more of them for the tangents.

A layer of n units is one matrix [n, k + 1], its bias the last column, and its inputs [M, k + 1] end in a one: a bias
then costs no pass of its own, forwards or backwards. All layers lie one after the other in a vector [P].
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Perceptron:
    """A network at M inputs: linear layers, a ReLU or a tanh between any two of them.

    The order of calls is `load`, `forward`, `linearise` (or `restrict` for all three), then `pull` and `push`; what a
    method returns is overwritten by the next one.
    """

    def __init__(self, network: nn.Sequential, rows: int):
        self.layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        self.tanh = any(isinstance(layer, nn.Tanh) for layer in network)
        self.shapes = [(layer.out_features, layer.in_features + 1) for layer in self.layers]
        self.sizes = [n * k for n, k in self.shapes]
        self.weights: Sequence[Tensor] = []
        dtype = self.layers[0].weight.dtype
        self.inputs = [torch.ones(rows, k, dtype=dtype) for _, k in self.shapes]
        self.slopes = [torch.empty(rows, n, dtype=dtype) for n, _ in self.shapes[:-1]]
        self.values = [torch.empty(rows, n, dtype=dtype) for n, _ in self.shapes]
        self._one = torch.ones((), dtype=dtype)

    @property
    def size(self) -> int:
        """P, the number of weights and biases."""
        return sum(self.sizes)

    def matrices(self, vector: Tensor) -> list[Tensor]:
        """Return the layers [n, k + 1] in a vector [P], as views."""
        return [part.view(shape) for part, shape in zip(vector.split(self.sizes), self.shapes, strict=True)]

    def read(self, vector: Tensor) -> None:
        """Copy the network's weights into a vector [P]."""
        for layer, matrix in zip(self.layers, self.matrices(vector), strict=True):
            matrix[:, :-1], matrix[:, -1] = layer.weight, layer.bias

    def write(self, vector: Tensor) -> None:
        """Copy a vector [P] into the network's weights."""
        for layer, matrix in zip(self.layers, self.matrices(vector), strict=True):
            layer.weight.copy_(matrix[:, :-1])
            layer.bias.copy_(matrix[:, -1])

    def load(self, x: Tensor) -> None:
        """Take inputs [M, I]."""
        self.inputs[0][:, :-1] = x

    def forward(self, weights: Sequence[Tensor]) -> Tensor:
        """Return the output [M, O] for weights as of `matrices`, which are not copied."""
        self.weights = weights
        for i, (weight, inputs) in enumerate(zip(weights[:-1], self.inputs, strict=False)):
            value = torch.mm(inputs, weight.T, out=self.values[i])
            self.inputs[i + 1][:, :-1] = value.tanh_() if self.tanh else value.clamp_min_(0)
        return torch.mm(self.inputs[-1], weights[-1].T, out=self.values[-1])

    def linearise(self) -> None:
        """Keep the slopes of the activations that `forward` has left, which `pull` and `push` need."""
        for value, slope in zip(self.values, self.slopes, strict=False):
            if self.tanh:
                torch.addcmul(self._one, value, value, value=-1, out=slope)
            else:
                torch.gt(value, 0, out=slope)

    def restrict(self, whole: "Perceptron", rows: Tensor) -> None:
        """Take over what `whole` has computed for some of its rows [M], which `pull` and `push` need."""
        self.weights = whole.weights
        for mine, theirs in zip(self.inputs + self.slopes, whole.inputs + whole.slopes, strict=True):
            torch.index_select(theirs, 0, rows, out=mine)

    def pull(self, cotangent: Tensor, out: Sequence[Tensor]) -> None:
        """Write J^T c, the gradient of sum(c * output) for every layer, to `out`; c [M, O]."""
        for i in reversed(range(len(self.weights))):
            torch.mm(cotangent.T, self.inputs[i], out=out[i])
            if i:
                cotangent = torch.mm(cotangent, self.weights[i][:, :-1], out=self.values[i - 1])
                cotangent.mul_(self.slopes[i - 1])

    def push(self, direction: Sequence[Tensor]) -> Tensor:
        """Return Jv, the change of the output [M, O] as the weights change along v, given as of `matrices`."""
        tangent: Tensor | None = None
        for i, (weight, change) in enumerate(zip(self.weights, direction, strict=True)):
            value = torch.mm(self.inputs[i], change.T, out=self.values[i])
            if tangent is not None:
                value.addmm_(tangent, weight[:, :-1].T)
            tangent = value.mul_(self.slopes[i]) if i < len(self.slopes) else value
        assert tangent is not None
        return tangent
