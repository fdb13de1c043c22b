"""Algorithm 1, lines 9-13: the exact gradient of the discriminator's cost through policy and forward model.

Along a segment the cost is J = sum_t gamma^t [c(s_t, a_t) - entropy * H(pi(. | s_t))] with a_t = pi(s_t, noise_t) and
s_{t+1} = f(s_t, a_t) in gradient, the recorded (or anchored) next state in value (eq. 11). Its gradient obeys
eq. 12-13, walked from the segment's end:

    j_theta = D_a pi_theta + gamma (j'_s f_a pi_theta + j'_theta)
    j_s     = D_s + D_a pi_s + gamma j'_s (f_s + f_a pi_s)

with j' = 0 at an episode's and the segment's end (a recorded stretch may hold the next episode's start, too: it counts
as a segment of its own). Only j_s is sequential, and with the current policy's actions the way forwards, too. Both are
walked on tapes (`algorithms.adjoint`), on which samples are columns; the cotangents of the policy's outputs are
collected, and j_theta is taken from all steps at the end. A model with a memory carries a second adjoint, j_m, alike.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from algorithms.adjoint import ALL, Array, aligned, record
from algorithms.forward_models import ForwardModel
from algorithms.heads import Head, columns
from algorithms.replay import Segment


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

    It may be gone again and again: the memory it takes is taken once, and weights are read at every start. Every
    `forward` overwrites `points`; what `backward` returns stays.

    Args:
        policy: normalised state [B, S] -> output [B, A].
        model: the forward model.
        head: output and noise -> action.

    Attributes:
        points: [H, S + A, B], where `forward` went and what was done there.
    """

    points: Array

    def __init__(self, policy: nn.Module, model: ForwardModel, head: Head):
        self.policy, self.model, self.head = policy, model, head
        self._shape: tuple[int, int] | None = None

    def _begin(self, segment: Segment, noise: Tensor) -> None:
        """Get tapes ready for the segment."""
        horizon, batch, size = segment.states.shape
        if self._shape != (horizon, batch):
            self._shape = horizon, batch
            self._of_policy = record(self.policy, horizon, batch, weights=True)
            self._of_model = self.model.record(horizon, batch)
            dtype = segment.states.numpy().dtype
            self.points, self._slope = aligned(2, horizon, size + segment.actions.shape[-1], batch, dtype=dtype)
            self._states, self._actions = self.points[:, :size], self.points[:, size:]
            self._at = list(zip(self._states, self._actions, strict=True))
        self._of_policy.load()
        self._of_model.load()
        self._draws = self.head.along(noise)
        self._goes_on = (1 - segment.done).transpose(1, 2).numpy()
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
            self._follow(segment, memory.numpy().T)

    def _follow(self, segment: Segment, memory: Array) -> None:
        """Go where the segment went; only a memory makes that sequential."""
        np.copyto(self._states, segment.states.transpose(1, 2).numpy())
        np.copyto(self._actions, segment.actions.transpose(1, 2).numpy())
        self._draws.draw(ALL, self._of_policy.forward(ALL, self._states))
        if not self.model.memory_size:
            self._of_model.forward(ALL, self._states, self._actions, memory)
            return
        for t, (x, u) in enumerate(self._at[:-1]):
            _, memory = self._of_model.forward(t, x, u, memory)
            memory = memory * self._goes_on[t] if self._ends[t] else memory

    def _act_anew(self, segment: Segment, memory: Tensor, correction_clip: float) -> None:
        """Go where the current policy's actions lead."""
        predicted = self.model.unroll(segment.states, segment.actions, memory, segment.done)
        # What the recorded steps were beyond the model's word for them, as seen from the states that followed.
        error = columns((segment.next_states - segment.states - predicted)[:-1] - segment.states[1:])
        recorded, carried = columns(segment.states), memory.numpy().T
        highest = np.full_like(recorded[0], correction_clip)
        lowest = -highest
        bracket = self._at[0][0]
        np.copyto(bracket, recorded[0])
        for t, (x, u) in enumerate(self._at):
            np.copyto(u, self._draws.draw(t, self._of_policy.forward(t, x)))
            if t + 1 == len(self._at):
                break
            change, carried = self._of_model.forward(t, x, u, carried)
            bracket = np.add(x, change, out=self._at[t + 1][0])
            np.add(bracket, error[t], out=bracket)
            np.maximum(bracket, lowest, out=bracket)
            np.minimum(bracket, highest, out=bracket)
            if self._ends[t]:  # recorded[t + 1] is the start of the next episode, which nothing of the last one reaches
                np.multiply(bracket, self._goes_on[t], out=bracket)
                carried = carried * self._goes_on[t]
            np.add(bracket, recorded[t + 1], out=bracket)

    @torch.no_grad()
    def backward(self, cost_slope: Array, gamma: float, entropy: float = 0.0, adjoint_clip: float = np.inf) -> Gradient:
        """Go back along the recursion; every adjoint is held times the gamma^t / B that its step has in J.

        Args:
            cost_slope: d cost / d(state, action) [H, S + A, B] at `points`.
            gamma: discount.
            entropy: the weight lambda of the entropy in the cost.
            adjoint_clip: each sample's j_s is scaled down to this norm (inf: exact gradient).
        """
        horizon, size, batch = self._states.shape
        weights = self._weights(gamma)
        slope = np.multiply(cost_slope, weights, out=self._slope)
        of_state, of_action = slope[:, :size], slope[:, size:]
        of_entropy = self._draws.entropy_slope() if entropy else None
        if of_entropy is not None:
            of_entropy = entropy * weights * of_entropy
        outputs = np.empty_like(of_action)
        j_s = np.zeros_like(of_state[0])
        j_m = np.zeros((self.model.memory_size, batch), j_s.dtype)
        longest = np.maximum(np.square(adjoint_clip * weights), np.finfo(weights.dtype).tiny)  # 0 / 0 is no length
        for t in range(horizon - 1, -1, -1):
            to_action = of_action[t]
            if t + 1 < horizon:  # behind the last step all adjoints are zero
                if self._ends[t]:
                    np.multiply(j_s, self._goes_on[t], out=j_s)
                    j_m = j_m * self._goes_on[t]
                f_s, f_a, j_m = self._of_model.pull(t, j_s, j_m)
                np.add(to_action, f_a, out=to_action)
                np.add(j_s, f_s, out=j_s)  # f predicts the change: j_s itself goes on, too
            output = outputs[t]
            np.copyto(output, self._draws.pull(t, to_action))
            if of_entropy is not None:
                np.subtract(output, of_entropy[t], out=output)
            np.add(j_s, of_state[t], out=j_s)
            np.add(j_s, self._of_policy.pull(t, output), out=j_s)
            if adjoint_clip < np.inf:
                squares = np.einsum("sb,sb->b", j_s, j_s)
                if np.logical_or.reduce(squares > longest[t, 0]):
                    np.multiply(j_s, np.sqrt(longest[t] / np.maximum(squares, longest[t])), out=j_s)
        return Gradient(
            self._of_policy.gradients(),
            torch.from_numpy(outputs).transpose(1, 2),
            torch.from_numpy(np.linalg.norm(j_s, axis=0) * batch),
        )

    def _weights(self, gamma: float) -> Array:
        """Return gamma^t / B, from each episode's start anew: [H, 1, B]."""
        weights = np.full_like(self._goes_on, 1 / self._goes_on.shape[-1])
        for t in range(len(weights) - 1):
            np.multiply(weights[t], gamma, out=weights[t + 1])
            if self._ends[t]:
                np.copyto(weights[t + 1], weights[0], where=self._goes_on[t] == 0)
        return weights
