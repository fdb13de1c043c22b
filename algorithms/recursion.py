"""Algorithm 1, lines 9-13: the exact gradient of the discriminator's cost through policy and forward model.

Along a segment the cost is J = sum_t gamma^t [c(s_t, a_t) - entropy * H(pi(. | s_t))] with a_t = pi(s_t, noise_t) and
s_{t+1} = f(s_t, a_t) in gradient, the recorded (or anchored) next state in value (eq. 11). Its gradient obeys
eq. 12-13, walked from the segment's end:

    j_theta = D_a pi_theta + gamma (j'_s f_a pi_theta + j'_theta)
    j_s     = D_s + D_a pi_s + gamma j'_s (f_s + f_a pi_s)

with j' = 0 at an episode's and the segment's end (a recorded stretch may hold the next episode's start, too: it counts
as a segment of its own). Only j_s is sequential, and with the current policy's actions the way forwards, too. Both are
walked on tapes (`algorithms.adjoint`); the cotangents of the policy's outputs are collected, and j_theta is one product
over all steps. A model with a memory carries a second adjoint, j_m, in the same way.
"""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from algorithms.adjoint import ALL, Array, Step, record
from algorithms.forward_models import ForwardModel
from algorithms.replay import Segment


class Draws(Protocol):
    """Actions drawn along H steps of B rows with given noise, and how a cotangent gets back from them."""

    def draw(self, t: Step, output: Array) -> Array:
        """Return the actions of a step for the policy's outputs: [B, A] -> [B, A]; or of all steps."""
        ...

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return the cotangent of a step's output for one of its action: [B, A] -> [B, A]."""
        ...

    def entropy_slope(self) -> Array | None:
        """Return d entropy / d output of all steps, [H, B, A]; None where it is zero."""
        ...


class Head(Protocol):
    """How the policy's output and noise become an action."""

    def draw(self, output: Tensor, noise: Tensor) -> Tensor:
        """Return the action for a policy output and noise: [..., A], [..., A] -> [..., A]."""
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

    def along(self, noise: Tensor) -> "GaussianDraws":
        """Return the draws with this noise."""
        return GaussianDraws((self.sigma * noise).numpy(), self.low.numpy(), self.high.numpy())


class GaussianDraws:
    """Actions of a `GaussianHead`."""

    def __init__(self, scaled: Array, low: Array, high: Array):
        self.scaled, self.low, self.high = scaled, low, high
        self.free, self.actions = np.empty((2, *scaled.shape), scaled.dtype)
        self.bounds: tuple[Array, Array] | None = None

    def draw(self, t: Step, output: Array) -> Array:
        """Return the executed actions; see `Draws`."""
        self.bounds = None
        free = np.add(output, self.scaled[t], out=self.free[t])
        return np.minimum(np.maximum(free, self.low, out=self.actions[t]), self.high, out=self.actions[t])

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return the cotangent, da / dmu = 1, but none whose descent leads further beyond a bound; see `Draws`."""
        if self.bounds is None:
            inf = self.free.dtype.type(np.inf)
            self.bounds = np.where(self.free > self.high, 0, -inf), np.where(self.free < self.low, 0, inf)
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
        return GumbelDraws(noise.numpy(), self.temperature)

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
    """Actions of a `GumbelHead`."""

    def __init__(self, noise: Array, temperature: float):
        self.noise, self.temperature = noise, temperature
        self.outputs = np.empty_like(noise)
        self.soft: Array | None = None

    def draw(self, t: Step, output: Array) -> Array:
        """Return one-hot actions; see `Draws`."""
        self.soft = None
        self.outputs[t] = output
        chosen = (output + self.noise[t]).argmax(-1)
        return np.eye(output.shape[-1], dtype=output.dtype)[chosen]

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return y * (c - <c, y>) / tau for the soft sample y; see `Draws`."""
        if self.soft is None:
            self.soft = softmax((self.outputs + self.noise) / self.temperature, -1)
        soft = self.soft[t]
        weighted = cotangent * soft
        return (weighted - soft * weighted.sum(-1, keepdims=True)) / self.temperature

    def entropy_slope(self) -> Array:
        """Return dH / dlogit_i = -p_i (log p_i + H); see `Draws`."""
        log_p = log_softmax(self.outputs, -1)
        p = np.exp(log_p)
        return -p * (log_p - (p * log_p).sum(-1, keepdims=True))


@torch.no_grad()
def remember(model: ForwardModel, segment: Segment) -> Tensor:
    """Return the model's memory [B, W] at the segment's start, from its past; it starts anew with every episode."""
    memory = segment.states.new_zeros(segment.states.shape[1], model.memory_size)
    if not model.memory_size:
        return memory
    return model.remember(segment.past_states, segment.past_actions, memory, segment.past_done)


class Gradient(NamedTuple):
    """What the recursion gives.

    Attributes:
        parameters: dJ / d(parameter of the policy), mean over the batch, in the order of its parameters.
        outputs: dJ / d(policy output) [H, B, A], the same mean.
        adjoint_norm: [B], the norm of j_s at each sample's first step (a diagnostic).
    """

    parameters: list[Tensor]
    outputs: Tensor
    adjoint_norm: Tensor


class Walk:
    """A policy's way along a segment and back, through a forward model.

    It may be gone again and again: the memory it takes is taken once, and weights are read at every start. What it
    returned is then overwritten.

    Args:
        policy: normalised state [B, S] -> output [B, A].
        model: the forward model.
        head: output and noise -> action.

    Attributes:
        states: [H, B, S], where `forward` went.
        actions: [H, B, A], what was done there.
    """

    states: Tensor
    actions: Tensor

    def __init__(self, policy: nn.Module, model: ForwardModel, head: Head):
        self.policy, self.model, self.head = policy, model, head
        self._shape: tuple[int, int] | None = None

    def _begin(self, segment: Segment, noise: Tensor) -> None:
        """Get tapes ready for the segment."""
        horizon, batch, _ = segment.states.shape
        if self._shape != (horizon, batch):
            self._shape = horizon, batch
            self._of_policy = record(self.policy, horizon, batch, weights=True)
            self._of_model = self.model.record(horizon, batch)
        self._of_policy.load()
        self._of_model.load()
        self._draws = self.head.along(noise)
        self._goes_on = (1 - segment.done).numpy()
        self._ends = segment.done.flatten(1).any(1).tolist()

    @torch.no_grad()
    def forward(self, segment: Segment, noise: Tensor, fresh: bool, correction_clip: float = np.inf) -> None:
        """Go forwards, at the recorded actions or (`fresh`) with the current policy's.

        `fresh`: the recorded segment is only an anchor. The current policy acts anew, and
        x_{t+1} = s_{t+1} + clip[(x_t + f(x_t, u_t)) - (s_t + f(s_t, a_t))]: the recorded next state plus what the model
        says the other action changes. On data of the current policy the bracket is zero and both kinds agree.

        Args:
            segment: H recorded steps of B environments.
            noise: [H, B, A].
            fresh: act anew.
            correction_clip: bound of the bracket in each normalised dimension.
        """
        self._begin(segment, noise)
        memory = remember(self.model, segment)
        if fresh:
            self._act_anew(segment, memory, correction_clip)
        else:
            self._follow(segment, memory.numpy())

    def _follow(self, segment: Segment, memory: Array) -> None:
        """Go where the segment went; only a memory makes that sequential."""
        self.states, self.actions = segment.states, segment.actions
        states, actions = self.states.numpy(), self.actions.numpy()
        self._draws.draw(ALL, self._of_policy.forward(ALL, states))
        if not self.model.memory_size:
            self._of_model.forward(ALL, states, actions, memory)
            return
        for t in range(len(states) - 1):
            _, memory = self._of_model.forward(t, states[t], actions[t], memory)
            memory = memory * self._goes_on[t] if self._ends[t] else memory

    def _act_anew(self, segment: Segment, memory: Tensor, correction_clip: float) -> None:
        """Go where the current policy's actions lead."""
        predicted = self.model.unroll(segment.states, segment.actions, memory, segment.done)
        # What the recorded steps were beyond the model's word for them, as seen from the states that followed.
        error = ((segment.next_states - segment.states - predicted)[:-1] - segment.states[1:]).numpy()
        recorded, carried = segment.states.numpy(), memory.numpy()
        self.states, self.actions = torch.empty_like(segment.states), torch.empty_like(segment.actions)
        states, actions = self.states.numpy(), self.actions.numpy()  # the same memory
        states[0] = recorded[0]
        for t, x in enumerate(states):
            actions[t] = self._draws.draw(t, self._of_policy.forward(t, x))
            if t + 1 == len(states):
                break
            change, carried = self._of_model.forward(t, x, actions[t], carried)
            bracket = np.add(x, change, out=states[t + 1])
            np.add(bracket, error[t], out=bracket)
            np.maximum(bracket, -correction_clip, out=bracket)
            np.minimum(bracket, correction_clip, out=bracket)
            if self._ends[t]:  # recorded[t + 1] is the start of the next episode, which nothing of the last one reaches
                np.multiply(bracket, self._goes_on[t], out=bracket)
                carried = carried * self._goes_on[t]
            np.add(bracket, recorded[t + 1], out=bracket)

    @torch.no_grad()
    def backward(
        self, cost_slope: Tensor, gamma: float, entropy: float = 0.0, adjoint_clip: float = np.inf
    ) -> Gradient:
        """Go back along the recursion; every adjoint is held times the gamma^t / B that its step has in J.

        Args:
            cost_slope: d cost / d(state, action) [H, B, S + A] at `states` and `actions`.
            gamma: discount.
            entropy: the weight lambda of the entropy in the cost.
            adjoint_clip: each sample's j_s is scaled down to this norm (inf: exact gradient).
        """
        horizon, batch, size = self.states.shape
        weights = np.full_like(self._goes_on, 1 / batch)  # gamma^t / B, from each episode's start anew
        for t in range(horizon - 1):
            weights[t + 1] = np.where(self._goes_on[t] > 0, gamma * weights[t], weights[0])
        of_state, of_action = np.split(cost_slope.numpy() * weights, [size], -1)
        slope = self._draws.entropy_slope() if entropy else None
        if slope is not None:
            slope = entropy * weights * slope
        outputs = np.empty_like(of_action)
        j_s = np.zeros_like(of_state[0])
        j_m = np.zeros((batch, self.model.memory_size), j_s.dtype)
        for t in range(horizon - 1, -1, -1):
            to_action = of_action[t]
            if t + 1 < horizon:  # behind the last step all adjoints are zero
                if self._ends[t]:
                    np.multiply(j_s, self._goes_on[t], out=j_s)
                    j_m = j_m * self._goes_on[t]
                f_s, f_a, j_m = self._of_model.pull(t, j_s, j_m)
                to_action = to_action + f_a
                np.add(j_s, f_s, out=j_s)  # f predicts the change: j_s itself goes on, too
            outputs[t] = self._draws.pull(t, to_action)
            if slope is not None:
                outputs[t] -= slope[t]
            np.add(j_s, of_state[t], out=j_s)
            np.add(j_s, self._of_policy.pull(t, outputs[t]), out=j_s)
            if adjoint_clip < np.inf:
                norm = np.sqrt(np.einsum("bs,bs->b", j_s, j_s))[:, None]
                longest = adjoint_clip * weights[t]
                np.multiply(j_s, longest / np.maximum(norm, longest), out=j_s)
        return Gradient(
            self._of_policy.gradients(outputs),
            torch.from_numpy(outputs),
            torch.from_numpy(np.linalg.norm(j_s, axis=-1) * batch),
        )
