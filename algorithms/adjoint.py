"""Run a network and keep what is needed to pull a cotangent back to its inputs, without building a graph.

Algorithm 1's recursion needs vector-Jacobian products with respect to *inputs* only, one time step after the other.
For plain perceptrons and the GRU they are a few products with stored activations; any other module goes through
autograd, step by step, and gives the same numbers more slowly. Both are to be called under `torch.no_grad`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Pullback = Callable[..., Any]
_relu_backward = torch.ops.aten.threshold_backward
_tanh_backward = torch.ops.aten.tanh_backward
_sigmoid_backward = torch.ops.aten.sigmoid_backward
_ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.Sigmoid)


def record(network: nn.Module, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return `network(x)` and its pullback: [..., I] -> ([..., O], cotangent [..., O] -> cotangent [..., I])."""
    if isinstance(network, nn.Sequential) and _is_perceptron(list(network)):
        return _record_layers(network, x)
    return _record_graph(network, x)


def _is_perceptron(layers: Sequence[nn.Module]) -> bool:
    """Whether all are linear, or activations of what a linear one gives: these are computed in place."""
    return all(
        isinstance(layer, nn.Linear)
        or (isinstance(layer, _ACTIVATIONS) and i > 0 and isinstance(layers[i - 1], nn.Linear))
        for i, layer in enumerate(layers)
    )


def _record_layers(network: nn.Sequential, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    tape: list[tuple[Callable[[Tensor, Tensor], Tensor], Tensor]] = []
    for layer in network:
        if isinstance(layer, nn.Linear):
            x = torch.nn.functional.linear(x, layer.weight, layer.bias)
            tape.append((torch.matmul, layer.weight))
        elif isinstance(layer, nn.ReLU):
            x = x.relu_()  # the linear output before it is needed by nobody else
            tape.append((_through_relu, x))
        elif isinstance(layer, nn.Tanh):
            x = x.tanh_()
            tape.append((_tanh_backward, x))
        else:
            x = x.sigmoid_()
            tape.append((_sigmoid_backward, x))

    def pullback(cotangent: Tensor) -> Tensor:
        for backward, saved in reversed(tape):
            cotangent = backward(cotangent, saved)
        return cotangent

    return x, pullback


def _through_relu(cotangent: Tensor, output: Tensor) -> Tensor:
    return _relu_backward(cotangent, output, 0)


def _record_graph(network: nn.Module, x: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        y = network(leaf)

    def pullback(cotangent: Tensor) -> Tensor:
        return torch.autograd.grad(y, leaf, cotangent, retain_graph=True)[0]

    return y.detach(), pullback


def record_gru(cell: nn.GRUCell, x: Tensor, memory: Tensor) -> tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """Return the GRU cell's next memory and its pullback.

    With reset r, update z and candidate n = tanh(i_n + r * h_n): memory' = (1 - z) * n + z * memory.

    Args:
        cell: the cell, [I] and [W] -> [W].
        x: [B, I].
        memory: [B, W].

    Returns:
        memory' [B, W], and a function: cotangent [B, W] -> cotangents of x [B, I] and of memory [B, W].
    """
    i_r, i_z, i_n = torch.nn.functional.linear(x, cell.weight_ih, cell.bias_ih).chunk(3, -1)
    h_r, h_z, h_n = torch.nn.functional.linear(memory, cell.weight_hh, cell.bias_hh).chunk(3, -1)
    r, z = (i_r + h_r).sigmoid_(), (i_z + h_z).sigmoid_()
    n = torch.addcmul(i_n, r, h_n).tanh_()
    change = memory - n

    def pullback(cotangent: Tensor) -> tuple[Tensor, Tensor]:
        to_z = _sigmoid_backward(cotangent * change, z)
        kept = cotangent * z
        to_n = _tanh_backward(cotangent - kept, n)
        to_r = _sigmoid_backward(to_n * h_n, r)
        to_x = torch.cat([to_r, to_z, to_n], -1) @ cell.weight_ih
        to_memory = torch.addmm(kept, torch.cat([to_r, to_z, to_n * r], -1), cell.weight_hh)
        return to_x, to_memory

    return torch.addcmul(n, z, change), pullback
