"""The argument of the paper's section 2.3, measured: gradients of one cost by MGAIL, by REINFORCE, and the true one.

On one batch of states and with one discriminator, the cost of h steps is J_h = sum_{t < h} gamma^t c(s_t, a_t), up to
an episode's end. Every draw of action noise is a batch of trajectories from the same states in the true simulator, and
on every batch three estimates of dJ_h / d(policy) are made:

``simulator``  the recursion with the true simulator's Jacobians, by central finite differences of its steps
``mgail``      the recursion with the learned forward model's: Algorithm 1
``reinforce``  the score function, sum_t grad log pi(a_t | s_t) (G_t - b_t) with G_t the cost from t on and b_t the mean
               of G_t over the *other* draws from the same state, a baseline that no learned one beats at t = 0

The first one's mean over the draws is the reference; how well a single draw of it agrees with the rest shows what noise
alone takes away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from algorithms.adjoint import Array
from algorithms.forward_models import ForwardModel, ModelTape
from algorithms.heads import GaussianDraws, GaussianHead, columns
from algorithms.mgail import MGAIL
from algorithms.recursion import Walk
from algorithms.replay import Segment
from algorithms.step_cost import step_cost
from bench.errors import UserError

Row = dict[str, Any]
DIFFERENCE = 1e-4  # of the finite differences, in deviations of states and actions


class ExactHead(GaussianHead):
    """Clips as `GaussianHead`, with the derivative of the clip itself: nothing passes where an action is clipped."""

    def along(self, noise: Tensor) -> "ExactDraws":
        """Return the draws with this noise."""
        return ExactDraws(columns(self.sigma * noise), self.low.numpy(), self.high.numpy())


class ExactDraws(GaussianDraws):
    """Actions of an `ExactHead`."""

    def pull(self, t: int, cotangent: Array) -> Array:
        """Return the cotangent of the output."""
        free = self.free[t]
        return np.where((free > self.high) | (free < self.low), 0, cotangent)


class KnownJacobians(ForwardModel):
    """A model of which only the derivatives are known, along one batch of trajectories.

    Attributes:
        jacobians: [H, B, S, S + A], d s' / d(s, a) in normalised units.
    """

    memory_size = 0

    def __init__(self, jacobians: Array):
        super().__init__()
        self.jacobians = jacobians

    def record(self, horizon: int, batch: int) -> ModelTape:
        """Return itself: there is nothing to record."""
        return self

    def load(self) -> None:
        """Do nothing."""

    def forward(self, t: int, x: Array, u: Array, memory: Array) -> tuple[Array, Array]:
        """Return zeros, which nobody looks at where recorded states are followed."""
        return np.zeros_like(x), memory

    def pull(self, t: int, to_change: Array, to_memory: Array) -> tuple[Array, Array, Array]:
        """Return the cotangents; the change's lacks what stays as it is."""
        size = len(to_change)
        both = np.einsum("ib,bij->jb", to_change, self.jacobians[t])
        return both[:size] - to_change, both[size:], to_memory


@dataclass(frozen=True)
class Batch:
    """Trajectories from the same states with one draw of noise.

    Attributes:
        segment: [H, B], with the noise of the acting.
        alive: [H, B, 1], 1 up to and including an episode's last step.
        observations: [H, B, S], and `commands` [H, B, A], as the environment has them.
    """

    segment: Segment
    alive: Tensor
    observations: NDArray[np.float64]
    commands: NDArray[np.float32]


def check(env: Any, task: str) -> None:
    """Raise a `UserError` unless the task's observation is its simulator's state and its actions are continuous."""
    model = getattr(env, "_model", None)
    if model is None or env.single_observation_space.shape[0] != model.nq + model.nv - env.unseen:
        raise UserError(
            f"{task}: a true gradient by differences needs continuous actions and an observation that is the "
            "simulator's state: hopper, walker2d, halfcheetah"
        )


@torch.no_grad()
def starts_of(algorithm: MGAIL, env: Any, seed: int, steps: int = 300) -> tuple[NDArray[np.float64], list[Tensor]]:
    """Return a batch of states that the policy gets to, with the past that a model's memory needs.

    Returns:
        Simulator states [B, D], and the last steps: normalised states [K, B, S], actions and ends of episodes.
    """
    policy, head = algorithm.learner, algorithm.walk.head
    generator = torch.Generator().manual_seed(seed)
    observations, _ = env.reset(seed=seed)
    past: list[list[Tensor]] = []
    for _ in range(steps):
        x = policy.normalise(observations)
        u = head.draw(policy(x), torch.empty(len(x), policy.action_size).normal_(generator=generator))
        observations, _, terminated, truncated, _ = env.step(policy.to_env(u))
        past = [*past, [x, u, torch.from_numpy(terminated | truncated)[:, None].float()]][
            -max(algorithm.config.past, 1) :
        ]
    kept = past[len(past) - algorithm.config.past :]
    empty = [part[None][:0] for part in past[-1]]
    return env.simulator_states(), [torch.stack(part) for part in zip(*kept, strict=True)] if kept else empty


@torch.no_grad()
def play(algorithm: MGAIL, env: Any, starts: NDArray[np.float64], past: list[Tensor], noise: Tensor) -> Batch:
    """Return the trajectories from `starts` with given noise [H, B, A]."""
    policy, head = algorithm.learner, algorithm.walk.head
    observations = env.set_simulator_states(np.arange(len(starts)), starts)
    alive = torch.ones(len(starts), 1)
    parts: list[list[Any]] = []
    for xi in noise:
        x = policy.normalise(observations)
        u = head.draw(policy(x), xi)
        command = policy.to_env(u)
        before = observations
        observations, _, terminated, truncated, info = env.step(command)
        done = torch.from_numpy(terminated | truncated)[:, None].float()
        fell = torch.from_numpy(terminated)[:, None].float()
        parts.append([x, u, policy.normalise(info["final_obs"]), done, fell, alive, before, command])
        alive = alive * (1 - done)
    columns = list(zip(*parts, strict=True))
    x, u, following, done, fell, alive = (torch.stack(column) for column in columns[:6])
    before, command = (np.stack(column) for column in columns[6:])
    return Batch(Segment(x, u, following, noise, done, fell, *past), alive, before, command)


def jacobians(algorithm: MGAIL, env: Any, batch: Batch) -> Array:
    """Return d s' / d(s, a) of the true simulator, [H, B, S, S + A] in normalised units, by central differences.

    Args:
        algorithm: has the units.
        env: of 2 (S + A) rows or more; as many trajectories as its rows hold are done at once.
        batch: where; zero behind an episode's end.
    """
    policy = algorithm.learner
    state_scale, action_scale = policy.observation_std.numpy(), policy.action_std.double().numpy()
    scale = np.concatenate([state_scale, action_scale])
    size, inputs = len(state_scale), len(scale)
    moves = DIFFERENCE * np.concatenate([np.diag(scale), -np.diag(scale)])  # [2 I, S + A]
    points = np.concatenate([batch.observations, batch.commands.astype(np.float64)], -1)
    found = np.zeros((*points.shape[:2], size, inputs), np.float32)
    flat, alive = points.reshape(-1, inputs), batch.alive.numpy().reshape(-1) > 0
    chosen = np.flatnonzero(alive)
    many = env.num_envs // len(moves)
    rows = np.arange(many * len(moves))
    for first in range(0, len(chosen), many):
        at = chosen[first : first + many]
        moved = (flat[at][:, None] + moves).reshape(-1, inputs)
        used = rows[: len(moved)]
        env.set_simulator_states(used, env.states_of(moved[:, :size]))
        *_, info = env.step(moved[:, size:], rows=used)
        after = (info["final_obs"] / state_scale).reshape(len(at), 2, inputs, size)
        found.reshape(-1, size, inputs)[at] = np.swapaxes(after[:, 0] - after[:, 1], 1, 2) / (2 * DIFFERENCE)
    return found


def cut(segment: Segment, horizon: int) -> Segment:
    """Return the segment's first steps."""
    names = ("states", "actions", "next_states", "noise", "done")
    return replace(segment, **{name: getattr(segment, name)[:horizon] for name in names})


def by_recursion(algorithm: MGAIL, batch: Batch, horizon: int, model: ForwardModel, head: GaussianHead) -> Tensor:
    """Return the recursion's gradient of J_h, mean over the batch, as one vector."""
    segment = cut(batch.segment, horizon)
    walk = Walk(algorithm.learner.network, model, head)
    walk.forward(segment, segment.noise, fresh=False)
    _, slope = algorithm.cost.along(walk.points)
    found = walk.backward(slope * batch.alive[:horizon].transpose(1, 2).numpy(), algorithm.config.gamma)
    return torch.cat([part.flatten() for part in found.parameters])


def costs_from(algorithm: MGAIL, batch: Batch) -> Tensor:
    """Return gamma^t c(s_t, a_t) of every step, [H, B]; zero behind an episode's end."""
    with torch.no_grad():
        logits = algorithm.discriminator.logits(torch.cat([batch.segment.states, batch.segment.actions], -1))
    cost, _ = step_cost(logits, algorithm.config.objective)
    discount = algorithm.config.gamma ** torch.arange(len(cost))
    return cost * batch.alive[..., 0] * discount[:, None]


def by_score(algorithm: MGAIL, batch: Batch, horizon: int, to_go: Tensor, baseline: Tensor) -> Tensor:
    """Return the score function's gradient of J_h; `to_go` and `baseline` are [h, B]."""
    segment, network = cut(batch.segment, horizon), algorithm.learner.network
    head = algorithm.walk.head
    assert isinstance(head, GaussianHead)
    # grad log N(a; mu, sigma) = (a - mu) / sigma^2 grad mu = xi / sigma grad mu
    weight = (to_go - baseline)[..., None] * batch.alive[:horizon] / to_go.shape[1]
    output = network(segment.states.flatten(0, 1))
    found = torch.autograd.grad(output, list(network.parameters()), (segment.noise / head.sigma * weight).flatten(0, 1))
    return torch.cat([part.flatten() for part in found])


def compare(
    algorithm: MGAIL,
    make_env: Callable[[int], Any],
    horizons: Sequence[int],
    states: int,
    draws: int,
    seed: int,
    report: Callable[[float], None] = lambda done: None,
) -> list[Row]:
    """Measure the three estimates by horizon.

    Args:
        algorithm: policy, discriminator and forward model; nothing of it is changed.
        make_env: number of rows -> environment of the task.
        horizons: numbers of steps h.
        states: of the batch.
        draws: batches of noise, two or more.
        seed: of states and noise.
        report: told the share that is done.

    Returns:
        A row per horizon and estimator: horizon, estimator, cosine (mean over draws, of one draw with the reference;
        `simulator`: with the mean of the other draws), cosine_mean (of the mean over draws with the reference),
        variance (trace of the covariance over draws), relative_variance (of the reference's squared norm), norm (of the
        mean), reference_norm, ended (share of trajectories that end within h steps).
    """
    env = make_env(states)
    lab = make_env(64 * (len(algorithm.learner.observation_mean) + algorithm.learner.action_size))
    head = algorithm.walk.head
    assert isinstance(head, GaussianHead)
    lab.reset(seed=seed)
    starts, past = starts_of(algorithm, env, seed)
    generator = torch.Generator().manual_seed(seed + 1)
    longest = max(horizons)
    batches, known = [], []
    for draw in range(draws):
        noise = torch.empty(longest, states, algorithm.learner.action_size).normal_(generator=generator)
        batches.append(play(algorithm, env, starts, past, noise))
        known.append(KnownJacobians(jacobians(algorithm, lab, batches[-1])))
        report((draw + 1) / draws)
    costs = torch.stack([costs_from(algorithm, batch) for batch in batches])
    exact = ExactHead(head.sigma, head.low, head.high)
    rows: list[Row] = []
    for horizon in horizons:
        to_go = costs[:, :horizon].flip(1).cumsum(1).flip(1)
        others = (to_go.sum(0) - to_go) / (draws - 1)
        estimates = {
            "simulator": [by_recursion(algorithm, b, horizon, m, exact) for b, m in zip(batches, known, strict=True)],
            "mgail": [by_recursion(algorithm, batch, horizon, algorithm.model, head) for batch in batches],
            "reinforce": [by_score(algorithm, b, horizon, to_go[i], others[i]) for i, b in enumerate(batches)],
        }
        ended = torch.stack([1 - batch.alive[horizon - 1] * (1 - batch.segment.done[horizon - 1]) for batch in batches])
        rows += summary(horizon, {name: torch.stack(found).double() for name, found in estimates.items()}, ended.mean())
    return rows


def summary(horizon: int, estimates: dict[str, Tensor], ended: Tensor) -> list[Row]:
    """Return the rows of one horizon for estimates [draws, P]; the first estimator's mean is the reference."""
    reference = next(iter(estimates.values())).mean(0)
    rows = []
    for name, found in estimates.items():
        mean = found.mean(0)
        against = [reference] * len(found)
        if mean.equal(reference):  # itself: each with the mean of the others
            against = list((found.sum(0) - found) / (len(found) - 1))
        variance = (found - mean).square().sum().item() / (len(found) - 1)
        cosines = [torch.cosine_similarity(one, other, 0).item() for one, other in zip(found, against, strict=True)]
        row = {"horizon": horizon, "estimator": name, "cosine": float(np.mean(cosines))}
        row |= {"cosine_mean": torch.cosine_similarity(mean, reference, 0).item(), "variance": variance}
        row |= {"relative_variance": variance / reference.square().sum().item(), "norm": mean.norm().item()}
        rows.append(row | {"reference_norm": reference.norm().item(), "ended": ended.item()})
    return rows
