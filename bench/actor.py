"""A policy as it acts between two steps of the simulators: `Policy.sample` up to rounding, in NumPy.

A batch's arithmetic takes microseconds, but the simulators leave the processor's caches cold, and then the twenty small
calls of torch cost several times what they cost in a loop of their own. NumPy's are lighter, and take memory once.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bench.policy import CLIP, Policy

Floats32 = NDArray[np.float32]


class Actor:
    """A snapshot of a policy that draws actions for N observations at a time.

    What a method returns is overwritten by the next call, unless it was given `out` to write to.
    """

    def __init__(self, policy: Policy, rows: int):
        self.discrete = policy.discrete
        self.mean, self.std = _copy(policy.observation_mean), _copy(policy.observation_std)
        self.network = _forward(policy, rows)
        self._wide = _memory(rows, len(self.mean), dtype=torch.float64)
        self._x = _memory(rows, len(self.mean))
        self._random = torch.empty(rows, policy.action_size)
        self._noise = self._random.numpy()  # the same memory
        self._action = _memory(rows, dtype=torch.int64)
        if not self.discrete:
            self._action, self._command = _memory(2, rows, policy.action_size)
            self.sigma = _copy(policy.log_std.detach().exp())
            self.action_mean, self.action_std = _copy(policy.action_mean), _copy(policy.action_std)
            self.low, self.high = _copy(policy.low), _copy(policy.high)

    def normalise(self, observations: NDArray[np.float64], out: Floats32 | None = None) -> Floats32:
        """Return what the network sees, bit for bit as `Policy.normalise`: [N, S] float64 -> [N, S] float32."""
        wide = np.subtract(observations, self.mean, out=self._wide)
        np.divide(wide, self.std, out=wide)
        np.minimum(wide, CLIP, out=wide)
        return np.maximum(wide, -CLIP, out=self._x if out is None else out, casting="same_kind")

    def draw(self, x: Floats32, generator: torch.Generator, out: NDArray | None = None) -> NDArray:
        """Draw actions for normalised observations: [N, S] -> [N] int64, or [N, A] float32 normalised, not clipped."""
        output = self.network(x)
        out = self._action if out is None else out
        if self.discrete:  # the Gumbel-max trick, as in `Policy.draw`
            self._random.exponential_(generator=generator).log_()
            return np.subtract(output, self._noise, out=self._noise).argmax(-1, out=out)
        self._random.normal_(generator=generator)
        np.multiply(self._noise, self.sigma, out=out)
        return np.add(output, out, out=out)

    def to_env(self, action: NDArray, out: NDArray | None = None) -> NDArray:
        """Return what the environment executes: [N] int64 as drawn, or clipped actions [N, A] float32."""
        if self.discrete:
            return action
        command = np.multiply(action, self.action_std, out=self._command if out is None else out)
        np.add(command, self.action_mean, out=command)
        np.maximum(command, self.low, out=command)
        return np.minimum(command, self.high, out=command)

    def sample(self, observations: NDArray[np.float64], generator: torch.Generator) -> NDArray:
        """Draw the actions that an environment executes: [N, S] -> [N] int64 or [N, A] float32."""
        return self.to_env(self.draw(self.normalise(observations), generator))


def _memory(*shape: int, dtype: torch.dtype = torch.float32) -> NDArray[Any]:
    """Return an array in memory of torch's, which is always aligned alike: the last bit may depend on that."""
    return torch.empty(*shape, dtype=dtype).numpy()


def _copy(values: Tensor) -> NDArray[Any]:
    return values.detach().clone(memory_format=torch.contiguous_format).numpy()


Step = Callable[[Floats32], Floats32]

_ACTIVATIONS: dict[type[nn.Module], Step] = {
    nn.ReLU: lambda x: np.maximum(x, 0, out=x),
    nn.Tanh: lambda x: np.tanh(x, out=x),
}


def _linear(layer: nn.Linear, rows: int) -> Step:
    weight, bias, out = _copy(layer.weight.T), _copy(layer.bias), _memory(rows, layer.out_features)
    return lambda x: np.add(np.matmul(x, weight, out=out), bias, out=out)


def _forward(policy: Policy, rows: int) -> Step:
    """Return `Policy.forward` on [N, S] -> [N, n or A]; what is no plain perceptron is called in torch."""
    layers = policy.network
    plain = type(policy).forward is Policy.forward and isinstance(layers, nn.Sequential)
    if not plain or not all(isinstance(layer, nn.Linear) or type(layer) in _ACTIVATIONS for layer in layers):
        return torch.no_grad()(lambda x: policy(torch.from_numpy(x)).numpy())
    steps = [_linear(layer, rows) if isinstance(layer, nn.Linear) else _ACTIVATIONS[type(layer)] for layer in layers]

    def forward(x: Floats32) -> Floats32:
        for step in steps:
            x = step(x)
        return x

    return forward
