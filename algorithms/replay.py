"""The agent's experience as sequences: a ring of [T, N] steps, from which batches, segments and their pasts are drawn.

Every row holds the true next state, so no fake transition across a reset can reach the forward model or D.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SPAN = 12  # steps by which two times in an episode may differ and still count as one
LATEST = np.iinfo(np.int16).max


@dataclass(frozen=True)
class Segment:
    """Recorded stretches of experience, time first. States are normalised, actions as executed (one-hot if discrete).

    Attributes:
        states: [H, B, S].
        actions: [H, B, A].
        next_states: [H, B, S], true successors, also where an episode ended.
        noise: [H, B, A], the noise the actions were drawn with.
        done: [H, B, 1], 1 where an episode ended with the step; the next row then starts the following episode.
        terminated: [H, B, 1], 1 where it did so other than by its time limit.
        past_states: [K, B, S] and `past_actions` [K, B, A]: the steps before the segment, for a model's memory.
        past_done: [K, B, 1], 1 where an episode ended in the past.
    """

    states: Tensor
    actions: Tensor
    next_states: Tensor
    noise: Tensor
    done: Tensor
    terminated: Tensor
    past_states: Tensor
    past_actions: Tensor
    past_done: Tensor


class SequenceBuffer:
    """A ring buffer of vector-environment steps."""

    _fields = ("states", "actions", "next_states", "noise", "done", "terminated", "elapsed")

    def __init__(self, capacity: int, num_envs: int, state: int, action: int, generator: np.random.Generator):
        self.rows = max(capacity // num_envs, 1)
        self.num_envs = num_envs
        self.generator = generator
        self.states = torch.zeros(self.rows, num_envs, state)
        self.actions = torch.zeros(self.rows, num_envs, action)
        self.next_states = torch.zeros(self.rows, num_envs, state)
        self.noise = torch.zeros(self.rows, num_envs, action)
        self.done = torch.zeros(self.rows, num_envs, 1)
        self.terminated = torch.zeros(self.rows, num_envs, 1)
        self.elapsed = torch.zeros(self.rows, num_envs, dtype=torch.int16)
        self.cursor = 0
        self.size = 0

    def push(
        self,
        states: Tensor,
        actions: Tensor,
        next_states: Tensor,
        noise: Tensor,
        done: NDArray,
        terminated: NDArray,
        elapsed: NDArray,
    ) -> None:
        """Append one vector step, in which the oldest one falls out.

        Args:
            states: [N, S].
            actions: [N, A].
            next_states: [N, S], as in `Segment`.
            noise: [N, A].
            done: [N], whether the episode ended with the step.
            terminated: [N], whether it did so other than by its time limit.
            elapsed: [N], steps of the episode before this one.
        """
        row = self.cursor
        self.states[row] = states
        self.actions[row] = actions
        self.next_states[row] = next_states
        self.noise[row] = noise
        self.done[row, :, 0] = torch.from_numpy(done)
        self.terminated[row, :, 0] = torch.from_numpy(terminated)
        self.elapsed[row] = torch.from_numpy(np.minimum(elapsed, LATEST))
        self.cursor = (row + 1) % self.rows
        self.size = min(self.size + 1, self.rows)

    def _starts(self, batch: int, length: int, recent: int, burn_in: int) -> NDArray[np.int64]:
        """Draw start rows for sequences of `length` among the last `recent` environment steps."""
        oldest = min(self.size - burn_in, max(recent // self.num_envs, length))
        if oldest < length:
            raise ValueError(f"{self.size} recorded rows cannot hold sequences of {length} + {burn_in} steps")
        age = self.generator.integers(length, oldest + 1, batch)
        return self.cursor - age

    def transitions(self, batch: int, recent: int, elapsed: NDArray | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Draw states [B, S], actions [B, A], true next states [B, S] from the last `recent` steps.

        `elapsed`: [B], times in an episode; draw of about these.
        """
        if elapsed is None:
            flat = self._starts(batch, 1, recent, 0) % self.rows * self.num_envs
            flat += self.generator.integers(self.num_envs, size=batch)
        else:
            flat = self._at(elapsed, recent)
        index = torch.from_numpy(flat)
        states, actions, next_states = (
            field.flatten(0, 1).index_select(0, index) for field in (self.states, self.actions, self.next_states)
        )
        return states, actions, next_states

    def _at(self, elapsed: NDArray, recent: int) -> NDArray[np.int64]:
        """Draw flat indices [B] of recorded steps at most `SPAN` from `elapsed` [B]; any where there is none."""
        rows = (self.cursor - np.arange(1, min(self.size, max(recent // self.num_envs, 1)) + 1)) % self.rows
        times = self.elapsed.numpy()[rows].ravel()
        order = np.argsort(times, kind="stable")
        first = np.searchsorted(times, elapsed - SPAN, "left", sorter=order)
        behind = np.searchsorted(times, elapsed + SPAN, "right", sorter=order)
        none = first == behind
        first[none], behind[none] = 0, len(order)
        chosen = order[self.generator.integers(first, behind)]
        return rows[chosen // self.num_envs] * self.num_envs + chosen % self.num_envs

    def segments(self, batch: int, horizon: int, recent: int, burn_in: int = 0) -> Segment:
        """Draw segments of `horizon` steps with `burn_in` steps of past, from the last `recent` steps."""
        starts = self._starts(batch, horizon, recent, burn_in)
        return self._cut(starts, self.generator.integers(self.num_envs, size=batch), horizon, burn_in)

    def latest(self, horizon: int, steps: int, burn_in: int = 0) -> Segment:
        """Return the last `steps` vector steps of all environments, cut into whole segments of `horizon`."""
        pieces = steps // horizon
        starts = self.cursor - horizon * np.repeat(np.arange(pieces, 0, -1), self.num_envs)
        return self._cut(starts, np.tile(np.arange(self.num_envs), pieces), horizon, burn_in)

    def _cut(self, starts: NDArray[np.int64], column: NDArray[np.int64], horizon: int, burn_in: int) -> Segment:
        rows = (starts + np.arange(-burn_in, horizon)[:, None]) % self.rows
        index = torch.from_numpy((rows * self.num_envs + column).ravel())
        states, actions, next_states, noise, done, terminated = (
            field.flatten(0, 1).index_select(0, index).view(len(rows), len(starts), -1)
            for field in (self.states, self.actions, self.next_states, self.noise, self.done, self.terminated)
        )
        return Segment(
            states=states[burn_in:],
            actions=actions[burn_in:],
            next_states=next_states[burn_in:],
            noise=noise[burn_in:],
            done=done[burn_in:],
            terminated=terminated[burn_in:],
            past_states=states[:burn_in],
            past_actions=actions[:burn_in],
            past_done=done[:burn_in],
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the recorded rows, the cursor and the generator."""
        content: dict[str, Any] = {name: getattr(self, name)[: self.size].clone() for name in self._fields}
        return content | {"cursor": self.cursor, "size": self.size, "generator": self.generator.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.cursor, self.size = state["cursor"], state["size"]
        self.generator.bit_generator.state = state["generator"]
        for name in self._fields:
            getattr(self, name)[: self.size] = state[name]
