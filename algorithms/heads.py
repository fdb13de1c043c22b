"""How the policy's outputs and noise become actions, and how cotangents get back (sections 3.2.1 and 3.2.2).

Along a walk samples are columns, [A, B], as in `algorithms.adjoint`.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from algorithms.adjoint import ALL, Array, steps_of


class Draws(Protocol):
    """Actions drawn along H steps of B samples (columns) with given noise, and how a cotangent gets back from them."""

    def draw(self, t: int, output: Array) -> Array:
        """Return the actions of a step for the policy's outputs: [A, B] -> [A, B]; or of `ALL`."""
        ...

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return the cotangent of a step's output for one of its action: [A, B] -> [A, B]."""
        ...

    def entropy_slope(self) -> Array | None:
        """Return d entropy / d output of all steps, [H, A, B]; None where it is zero."""
        ...


class Head(Protocol):
    """How the policy's output and noise become an action."""

    def draw(self, output: Tensor, noise: Tensor) -> Tensor:
        """Return the action for a policy output and noise: [..., A], [..., A] -> [..., A]."""
        ...

    def posterior_noise(self, output: Tensor, action: Tensor, generator: torch.Generator, /) -> Tensor:
        """Return noise with which `draw` gives the recorded action again: [..., A], [..., A] -> [..., A]."""
        ...

    def along(self, noise: Tensor) -> Draws:
        """Return the draws with this noise: [H, B, A]."""
        ...


@dataclass(frozen=True)
class GaussianHead:
    """a = clip(mu + sigma * xi) [eq. 10]; the gradient passes the clip unless it points further out.

    Behind a bound nothing changes what is executed, so a slope outwards would push mu away without end.

    Attributes:
        sigma: [A] deviation, in normalised action units like the bounds `low` and `high`.
    """

    sigma: Tensor
    low: Tensor
    high: Tensor

    def draw(self, output: Tensor, noise: Tensor) -> Tensor:
        """Return the executed action."""
        return torch.addcmul(output, self.sigma, noise).clamp(self.low, self.high)

    def posterior_noise(self, output: Tensor, action: Tensor, generator: torch.Generator) -> Tensor:
        """Return noise with which the recorded action is executed again: [..., A].

        An action on a bound was drawn from beyond it; how far beyond changes nothing, and is a deviation here.
        """
        beyond = (action >= self.high).to(action.dtype) - (action <= self.low).to(action.dtype)
        return (action - output) / self.sigma + beyond

    def along(self, noise: Tensor) -> "GaussianDraws":
        """Return the draws with this noise."""
        return GaussianDraws(columns(self.sigma * noise), self.low.numpy(), self.high.numpy())


class GaussianDraws:
    """Actions of a `GaussianHead`; `scaled` is the noise times sigma, [H, A, B]."""

    def __init__(self, scaled: Array, low: Array, high: Array):
        self.scaled = steps_of(scaled)
        self.low, self.high = (np.repeat(bound[:, None], scaled.shape[-1], 1) for bound in (low, high))
        free, actions = np.empty((2, *scaled.shape), scaled.dtype)
        self.free, self.actions = steps_of(free), steps_of(actions)
        self.bounds: tuple[Array, Array] | None = None

    def draw(self, t: int, output: Array) -> Array:
        """Return the executed actions; see `Draws`."""
        self.bounds = None
        free, actions = np.add(output, self.scaled[t], out=self.free[t]), self.actions[t]
        return np.minimum(np.maximum(free, self.low, out=actions), self.high, out=actions)

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return the cotangent, da / dmu = 1, but none whose descent leads further beyond a bound; see `Draws`."""
        if self.bounds is None:
            free = self.free[ALL]
            inf = free.dtype.type(np.inf)
            self.bounds = np.where(free > self.high, 0, -inf), np.where(free < self.low, 0, inf)
        lowest, highest = self.bounds
        return np.minimum(np.maximum(cotangent, lowest[t]), highest[t])

    def entropy_slope(self) -> None:
        """Return nothing: the entropy of a Gaussian does not depend on its mean."""


@dataclass(frozen=True)
class GumbelHead:
    """One-hot argmax(logits + Gumbel noise) in value, softmax((logits + noise) / tau) in gradient [section 3.2.2]."""

    temperature: float

    def draw(self, output: Tensor, noise: Tensor) -> Tensor:
        """Return the one-hot action."""
        return nn.functional.one_hot((output + noise).argmax(-1), output.shape[-1]).to(output.dtype)

    def along(self, noise: Tensor) -> "GumbelDraws":
        """Return the draws with this noise."""
        return GumbelDraws(columns(noise), self.temperature)

    @staticmethod
    def posterior_noise(logits: Tensor, action: Tensor, generator: torch.Generator) -> Tensor:
        """Draw Gumbel noise given that argmax(logits + noise) was the recorded one-hot action: [..., n].

        The maximum is Gumbel(logsumexp); each other value is a Gumbel truncated below it.
        """
        top = (
            logits.logsumexp(-1, keepdim=True)
            - torch.empty_like(logits[..., :1]).exponential_(generator=generator).log()
        )
        free = logits - torch.empty_like(logits).exponential_(generator=generator).log()
        truncated = -torch.logaddexp(-top, -free)
        return torch.where(action > 0, top, truncated) - logits


class GumbelDraws:
    """Actions of a `GumbelHead`; `noise` is [H, n, B]."""

    def __init__(self, noise: Array, temperature: float):
        self.noise, self.temperature = steps_of(noise), temperature
        self.outputs = steps_of(np.empty_like(noise))
        self.classes = np.arange(noise.shape[1])[:, None]
        self.soft: Array | None = None

    def draw(self, t: int, output: Array) -> Array:
        """Return one-hot actions; see `Draws`."""
        self.soft = None
        np.copyto(self.outputs[t], output)
        chosen = (output + self.noise[t]).argmax(-2)
        return (chosen[..., None, :] == self.classes).astype(output.dtype)

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return y * (c - <c, y>) / tau for the soft sample y; see `Draws`."""
        if self.soft is None:
            self.soft = softmax((self.outputs[ALL] + self.noise[ALL]) / self.temperature, 1)
        soft = self.soft[t]
        weighted = cotangent * soft
        return (weighted - soft * weighted.sum(0)) / self.temperature

    def entropy_slope(self) -> Array:
        """Return dH / dlogit_i = -p_i (log p_i + H); see `Draws`."""
        log_p = log_softmax(self.outputs[ALL], 1)
        p = np.exp(log_p)
        return -p * (log_p - (p * log_p).sum(1, keepdims=True))


def columns(rows: Tensor) -> Array:
    """Return samples as columns: [H, B, I] -> [H, I, B], contiguous."""
    return rows.transpose(1, 2).contiguous().numpy()
