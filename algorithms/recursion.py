"""Algorithm 1, lines 9-13: the exact gradient of the discriminator's cost through policy and forward model.

Along a segment the cost is J = sum_t gamma^t [c(s_t, a_t) - entropy * H(pi(. | s_t))] with a_t = pi(s_t, noise_t) and
s_{t+1} = f(s_t, a_t) in gradient, the recorded (or anchored) next state in value (eq. 11). Its gradient obeys
eq. 12-13, walked from the segment's end:

    j_theta = D_a pi_theta + gamma (j'_s f_a pi_theta + j'_theta)
    j_s     = D_s + D_a pi_s + gamma j'_s (f_s + f_a pi_s)

with j' = 0 at an episode's and the segment's end (a recorded stretch may hold the next episode's start, too: it counts
as a segment of its own). Only j_s is sequential. It is walked with pullbacks of recorded
activations; the cotangents of the policy's outputs are collected, and one batched backward pass gives j_theta.
A model with a memory carries a second adjoint, j_m, in the same way.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from algorithms.adjoint import record
from algorithms.forward_models import ForwardModel, Pull
from algorithms.replay import Segment


class Head(Protocol):
    """How the policy's output and noise become an action, and how a cotangent gets back."""

    def draw(self, output: Tensor, noise: Tensor) -> Tensor:
        """Return the action for a policy output and noise: [..., A], [..., A] -> [..., A]."""
        ...

    def pull(self, output: Tensor, noise: Tensor, cotangent: Tensor) -> Tensor:
        """Return the cotangent of the output for one of the action: [..., A] -> [..., A]."""
        ...

    def entropy_slope(self, output: Tensor) -> Tensor:
        """Return d entropy / d output: [..., A] -> [..., A]."""
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
        return self.draw_free(output, noise).clamp(self.low, self.high)

    def draw_free(self, output: Tensor, noise: Tensor) -> Tensor:
        """Return the action before the clip."""
        return torch.addcmul(output, self.sigma, noise)

    def pull(self, output: Tensor, noise: Tensor, cotangent: Tensor) -> Tensor:
        """Return the cotangent, da / dmu = 1, but none whose descent leads further beyond a bound."""
        free = self.draw_free(output, noise)
        outwards = ((free > self.high) & (cotangent < 0)) | ((free < self.low) & (cotangent > 0))
        return cotangent.masked_fill(outwards, 0.0)

    def entropy_slope(self, output: Tensor) -> Tensor:
        """Return zero: the entropy of a Gaussian does not depend on its mean."""
        return torch.zeros_like(output)


@dataclass(frozen=True)
class GumbelHead:
    """One-hot argmax(logits + Gumbel noise) in value, softmax((logits + noise) / tau) in gradient [section 3.2.2]."""

    temperature: float

    def draw(self, output: Tensor, noise: Tensor) -> Tensor:
        """Return the one-hot action."""
        return nn.functional.one_hot((output + noise).argmax(-1), output.shape[-1]).to(output.dtype)

    def pull(self, output: Tensor, noise: Tensor, cotangent: Tensor) -> Tensor:
        """Return y * (c - <c, y>) / tau for the soft sample y."""
        soft = ((output + noise) / self.temperature).softmax(-1)
        weighted = cotangent * soft
        return (weighted - soft * weighted.sum(-1, keepdim=True)) / self.temperature

    def entropy_slope(self, output: Tensor) -> Tensor:
        """Return dH / dlogit_i = -p_i (log p_i + H)."""
        log_p = output.log_softmax(-1)
        p = log_p.exp()
        entropy = -(p * log_p).sum(-1, keepdim=True)
        return -p * (log_p + entropy)

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


@dataclass(frozen=True)
class Walk:
    """Values along the segment and what the way back needs.

    Attributes:
        states: [H, B, S], `actions` [H, B, A], `outputs` of the policy [H, B, A], `noise` [H, B, A].
        memory: [B, W], the model's memory behind the segment.
        policy_pulls: H pullbacks of the policy's output to its state; `model_pulls`: H of the model's output.
    """

    states: Tensor
    actions: Tensor
    outputs: Tensor
    noise: Tensor
    memory: Tensor
    policy_pulls: list[Callable[[Tensor], Tensor]]
    model_pulls: list[Pull]


@torch.no_grad()
def remember(model: ForwardModel, segment: Segment) -> Tensor:
    """Return the model's memory [B, W] at the segment's start, from its past; it starts anew with every episode."""
    memory = segment.states.new_zeros(segment.states.shape[1], model.memory_size)
    if model.memory_size:
        for state, action, done in zip(segment.past_states, segment.past_actions, segment.past_done, strict=True):
            memory = model(state, action, memory)[1] * (1 - done)
    return memory


@torch.no_grad()
def walk(
    policy: nn.Module,
    model: ForwardModel,
    head: Head,
    segment: Segment,
    noise: Tensor,
    fresh: bool,
    correction_clip: float = torch.inf,
) -> Walk:
    """Walk a segment forwards, at its recorded actions or (`fresh`) with the current policy's.

    `fresh`: the recorded segment is only an anchor. The current policy acts anew, and
    x_{t+1} = s_{t+1} + clip[(x_t + f(x_t, u_t)) - (s_t + f(s_t, a_t))]: the recorded next state plus what the model
    says the other action changes. On data of the current policy the bracket is zero and both kinds agree.

    Args:
        policy: normalised state [B, S] -> output [B, A].
        model: the forward model.
        head: output and noise -> action.
        segment: H recorded steps of B environments.
        noise: [H, B, A].
        fresh: act anew.
        correction_clip: bound of the bracket in each normalised dimension.
    """
    memory = remember(model, segment)
    if fresh:
        predicted = model.unroll(segment.states, segment.actions, memory, segment.done)
        recorded = segment.next_states - segment.states - predicted
    horizon = len(segment.states)
    x = segment.states[0]
    states: list[Tensor] = []
    actions: list[Tensor] = []
    outputs: list[Tensor] = []
    policy_pulls: list[Callable[[Tensor], Tensor]] = []
    model_pulls: list[Pull] = []
    for t in range(horizon):
        output, policy_pull = record(policy, x)
        u = head.draw(output, noise[t]) if fresh else segment.actions[t]
        change, memory, model_pull = model.record(x, u, memory)
        for values, value in zip((states, actions, outputs), (x, u, output), strict=True):
            values.append(value)
        policy_pulls.append(policy_pull)
        model_pulls.append(model_pull)
        goes_on = 1 - segment.done[t]
        memory = memory * goes_on
        if t + 1 < horizon:
            s_next = segment.states[t + 1]  # the next state, or the start of the next episode
            if fresh:
                bracket = (x + change + recorded[t] - s_next).clamp(-correction_clip, correction_clip)
                x = torch.addcmul(s_next, bracket, goes_on)
            else:
                x = s_next
    stacked = (torch.stack(states), torch.stack(actions), torch.stack(outputs))
    return Walk(*stacked, noise, memory, policy_pulls, model_pulls)


@torch.no_grad()
def cotangents(
    walked: Walk,
    cost_slope: Tensor,
    segment: Segment,
    head: Head,
    gamma: float,
    entropy: float = 0.0,
    adjoint_clip: float = torch.inf,
) -> tuple[Tensor, Tensor]:
    """Walk the recursion backwards and return dJ/d(policy output), mean over the batch: [H, B, A].

    Args:
        walked: the walk forwards.
        cost_slope: d cost / d(state, action) [H, B, S + A].
        segment: says where episodes end.
        head: action -> output.
        gamma: discount.
        entropy: the weight lambda of the entropy in the cost.
        adjoint_clip: each sample's j_s is scaled down to this norm (inf: exact gradient).

    Returns:
        The cotangents [H, B, A], and the norm of j_s at each sample's first step [B] (a diagnostic).
    """
    horizon, batch, size = walked.states.shape
    discount = gamma * (1 - segment.done)
    j_s = torch.zeros_like(walked.states[0])
    j_m = torch.zeros_like(walked.memory)
    to_outputs: list[Tensor] = []
    slope = -entropy * head.entropy_slope(walked.outputs) if entropy else None
    for t in range(horizon - 1, -1, -1):
        j_s = discount[t] * j_s
        f_s, f_a, j_m = walked.model_pulls[t](j_s, discount[t] * j_m)
        to_output = head.pull(walked.outputs[t], walked.noise[t], cost_slope[t, :, size:] + f_a)
        if slope is not None:
            to_output = to_output + slope[t]
        j_s = j_s + cost_slope[t, :, :size] + f_s + walked.policy_pulls[t](to_output)
        if adjoint_clip < torch.inf:
            j_s = j_s * (adjoint_clip / j_s.norm(dim=-1, keepdim=True).clamp_min(adjoint_clip))
        to_outputs.append(to_output)
    weights = [torch.full_like(discount[0], 1 / batch)]  # gamma^t / B, from each episode's start anew
    for t in range(horizon - 1):
        weights.append(torch.where(segment.done[t] > 0, weights[0], discount[t] * weights[t]))
    return torch.stack(to_outputs[::-1]) * torch.stack(weights), j_s.norm(dim=-1)
