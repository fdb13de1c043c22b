"""Backpropagation by hand for ReLU perceptrons: half of autograd's time, which small steps spend on building graphs.

Samples are columns here: [features, N]. Weights [out, in] then multiply from the left as they lie in memory, and the
thin products of few inputs or outputs are up to twice as fast.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def relu_layers(network: nn.Module) -> list[nn.Linear] | None:
    """Return the linear layers of a network that has biases and ReLUs between them and nothing else; or None."""
    layers = list(network) if isinstance(network, nn.Sequential) else []
    linear = [layer for layer in layers[::2] if isinstance(layer, nn.Linear) and layer.bias is not None]
    between = [layer for layer in layers[1::2] if isinstance(layer, nn.ReLU)]
    alternate = len(linear) == len(between) + 1 and len(linear) + len(between) == len(layers)
    return linear if alternate else None


def forward(layers: Sequence[nn.Linear], x: Tensor) -> list[Tensor]:
    """Return every layer's input, and the output: [I, N] -> [I, N], [hidden, N], ..., [O, N]."""
    values = [x]
    for layer in layers[:-1]:
        values.append(torch.addmm(layer.bias[:, None], layer.weight, values[-1]).relu_())
    return [*values, torch.addmm(layers[-1].bias[:, None], layers[-1].weight, values[-1])]


def masked(cotangent: Tensor, value: Tensor) -> Tensor:
    """Return the cotangent where a ReLU's value is positive and zero elsewhere, all [hidden, N]."""
    return torch.ops.aten.threshold_backward(cotangent, value, 0)


def backward(layers: Sequence[nn.Linear], values: Sequence[Tensor], cotangent: Tensor) -> list[Tensor]:
    """Return the cotangents of what every linear layer puts out, the first one's first: [hidden, N], ..., [O, N].

    Args:
        layers: the network.
        values: what `forward` returned.
        cotangent: of the output, [O, N].
    """
    found = [cotangent]
    for layer, value in zip(layers[:0:-1], values[-2:0:-1], strict=True):
        found.append(masked(layer.weight.T @ found[-1], value))
    return found[::-1]


def set_gradients(
    layers: Sequence[nn.Linear], values: Sequence[Tensor], cotangents: Sequence[Tensor], biased: int | None = None
) -> None:
    """Set the gradients of weights and biases from what `forward` and `backward` returned.

    `biased`: as many of the first samples count for the biases (None: all).
    """
    for layer, value, cotangent in zip(layers, values, cotangents, strict=False):
        layer.weight.grad = cotangent @ value.T
        layer.bias.grad = cotangent[:, :biased].sum(1)
