"""The critic against numbers worked out by hand and float64 autograd."""

import copy
from math import log

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from algorithms.critic import FOLLOWING, STRETCH, Critic
from algorithms.forward_models import BasicModel
from algorithms.heads import GaussianHead, columns
from algorithms.recursion import Walk
from algorithms.replay import Segment
from bench.policy import mlp

pytestmark = pytest.mark.usefixtures("float64")
H, B, S, A = 6, 5, 4, 3
GAMMA, TRACE = 0.9, 0.8


def make_critic(form="positive"):
    critic = Critic(S + A, GAMMA, TRACE, 1e-3, form, torch.Generator().manual_seed(5))
    for parameter in critic.network.parameters():  # apart from its target, and steep enough to matter
        parameter.data.mul_(1.5)
    return critic


@pytest.mark.parametrize("form", ["positive", "negative"])
def test_a_step_descends_the_error_of_the_returns_of_every_length(form):
    """The lambda-return as its definition has it: a weighted mean of the n-step returns (Sutton and Barto, 12.3)."""
    critic = make_critic(form)
    rows, following = torch.randn(2, H, B, S + A)
    logits, done, terminated = torch.randn(H, B), torch.zeros(H, B), torch.zeros(H, B)
    done[2, 1] = terminated[2, 1] = 1  # a fall
    done[1, 3] = 1  # a time limit
    done[-1, 4] = terminated[-1, 4] = 1
    twin, target = copy.deepcopy(critic.network), copy.deepcopy(critic.target)

    def returns(t, b, end):
        """Return those of one step, of two, ... of all up to the end."""
        return [
            sum(GAMMA ** (k - t) * r[k, b] for k in range(t, last + 1)) + GAMMA ** (last + 1 - t) * later[last, b]
            for last in range(t, end + 1)
        ]

    with torch.no_grad():
        p = torch.sigmoid(logits)
        r = (1 - GAMMA) * (-p.log() if form == "positive" else (1 - p).log())
        later = (1 - terminated) * target(following)[..., 0]
        goal = torch.zeros(H, B)
        for t in range(H):
            for b in range(B):
                end = next((k for k in range(t, H) if done[k, b]), H - 1)
                found = returns(t, b, end)
                weights = [(1 - TRACE) * TRACE**n for n in range(end - t)] + [TRACE ** (end - t)]
                goal[t, b] = sum(weight * value for weight, value in zip(weights, found, strict=True))
    loss = (twin(rows)[..., 0] - goal).square().mean()
    loss.backward()
    assert critic.update(rows, logits, following, done, terminated) == pytest.approx(loss.item(), rel=1e-12)
    for mine, reference in zip(critic.network.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, reference.grad, rtol=1e-10, atol=1e-14)
    for mine, before, now in zip(
        critic.target.parameters(), target.parameters(), critic.network.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, before + FOLLOWING * (now - before))


def test_a_fall_ends_the_rewards():
    """D = 1/2 everywhere: a reward of log 2 for ever, one step of it before a fall."""
    critic = Critic(2, 0.5, 0.9, 1e-2, "positive", torch.Generator().manual_seed(0))
    stands, falls = torch.tensor([[0.0, 1.0]]), torch.tensor([[1.0, 0.0]])
    rows, done = torch.stack([stands, falls], 1), torch.tensor([[0.0, 1.0]])
    for _ in range(2000):
        critic.update(rows, torch.zeros(1, 2), torch.stack([stands, stands], 1), done, done)
    with torch.no_grad():
        q = critic.network(rows[0])[:, 0] / (1 - 0.5)
    np.testing.assert_allclose(q, [2 * log(2), log(2)], rtol=1e-3)


def test_a_fall_tells_the_whole_stretch_before_it_at_once():
    """A target network that knows nothing: with lambda one the goals are the sums of what the stretch still earns."""
    critic = Critic(2, 0.5, 1.0, 1e-2, "positive", torch.Generator().manual_seed(0))
    for parameter in critic.target.parameters():
        parameter.data.zero_()
    done = torch.zeros(STRETCH, 1)
    done[-1] = 1
    goals = critic.goals(torch.zeros(STRETCH, 1), torch.randn(STRETCH, 1, 2), done, done)
    steps_left = np.arange(STRETCH, 0, -1)
    np.testing.assert_allclose(goals[:, 0], log(2) * (1 - 0.5**steps_left), rtol=1e-6)


def test_the_cost_to_go_closes_segments_as_in_the_unrolled_graph():
    """The policy's gradient with the critic at all ends, against one graph over the whole segment."""
    generator = torch.Generator().manual_seed(1)
    policy, discriminator = mlp([S, 12, A], generator=generator), mlp([S + A, 12, 1], generator=generator)
    model, critic = BasicModel(S, A, 16, generator), make_critic()
    weight_of_rest = 1.7
    head = GaussianHead(torch.full((A,), 0.5), torch.full((A,), -99.0), torch.full((A,), 99.0))
    done = (torch.rand(H, B, 1) < 0.2).double()
    states, following = torch.randn(2, H, B, S)
    recorded = states, torch.randn(H, B, A), torch.where(done > 0, following, torch.cat([states[1:], following[:1]]))
    segment = Segment(*recorded, torch.randn(H, B, A), done, done, *[done[:0]] * 3)

    x, weight, total = segment.states[0], torch.ones(B), 0.0
    for t in range(H):
        u = policy(x) + head.sigma * segment.noise[t]
        row = torch.cat([x, u], -1)
        ends = done[t, :, 0] > 0 if t + 1 < H else torch.ones(B) > 0
        go = -weight_of_rest * critic.network(row)[:, 0] / (1 - GAMMA)
        total = total + (weight * torch.where(ends, go, softplus(discriminator(row)[:, 0]))).mean()
        weight = torch.where(ends, 1.0, GAMMA * weight)
        if t + 1 < H:
            s, a = segment.states[t], segment.actions[t]
            step = model(x, u, x[:, :0])[0]
            with torch.no_grad():
                moved = segment.next_states[t] - s - model(s, a, x[:, :0])[0]
            x = torch.where(done[t] > 0, segment.states[t + 1], x + step + moved)
    expected = torch.autograd.grad(total, list(policy.parameters()))

    walk = Walk(policy, model, head)
    walk.forward(segment, segment.noise, fresh=True)
    rows = torch.tensor(walk.points).transpose(1, 2).requires_grad_()
    (slope,) = torch.autograd.grad(softplus(discriminator(rows)).sum(), rows)
    slope = columns(slope)
    critic.close(slope, walk.points, segment.done, weight_of_rest)
    assert max(part.abs().max() for part in expected) > 1e-3
    for mine, reference in zip(walk.backward(slope, GAMMA).parameters, expected, strict=True):
        torch.testing.assert_close(mine, reference, rtol=1e-10, atol=1e-12)
