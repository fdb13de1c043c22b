"""The fast path of sampling gives what the plain path in torch gives."""

import numpy as np
import pytest
import torch
from torch import nn

from bench.actor import Actor
from bench.policy import CLIP, Policy


def make_policy(discrete: bool, activation: str = "tanh", seed: int = 0) -> Policy:
    """A policy whose normalisers, deviations and bounds all matter."""
    generator = torch.Generator().manual_seed(seed)
    bounds = {} if discrete else {"low": [-1.0, -0.2, -3.0], "high": [0.5, 0.2, 3.0]}
    policy = Policy(5, 3, discrete, hidden=(16, 7), activation=activation, generator=generator, **bounds)
    with torch.no_grad():
        policy.observation_mean.uniform_(-1, 1, generator=generator)
        policy.observation_std.uniform_(0.1, 2, generator=generator)
        if not discrete:
            policy.log_std.uniform_(-1, 0, generator=generator)
            policy.action_mean.uniform_(-0.3, 0.3, generator=generator)
            policy.action_std.uniform_(0.5, 2, generator=generator)
    return policy


def observations(rows: int) -> np.ndarray:
    return np.random.default_rng(0).normal(scale=3.0, size=(rows, 5))


@pytest.mark.parametrize("discrete", [True, False])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("rows", [1, 32, 50])
def test_an_actor_samples_as_its_policy(discrete, activation, rows):
    policy, seen = make_policy(discrete, activation), observations(rows)
    plain, fast = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    actor = Actor(policy, rows)
    for _ in range(3):  # the buffers are used again
        expected, actions = policy.sample(seen, plain), actor.sample(seen, fast)
        assert actions.dtype == expected.dtype
        np.testing.assert_allclose(actions, expected, rtol=0, atol=1e-5)
        assert np.array_equal(plain.get_state(), fast.get_state())
        seen = seen[::-1] + 0.1
    if not discrete and rows > 1:
        assert (actions == policy.low.numpy()).any()
        assert (actions == policy.high.numpy()).any()


def test_what_the_network_sees_is_the_same_to_the_last_bit():
    policy, seen = make_policy(discrete=False), observations(64)
    x = Actor(policy, 64).normalise(seen)
    assert np.array_equal(x, policy.normalise(seen).numpy())
    assert np.abs(x).max() == CLIP


@pytest.mark.parametrize("discrete", [True, False])
def test_results_can_be_kept(discrete):
    policy, seen = make_policy(discrete), observations(4)
    actor, generator = Actor(policy, 4), torch.Generator().manual_seed(0)
    x, actions = np.empty((4, 5), np.float32), np.empty(4 if discrete else (4, 3), np.int64 if discrete else np.float32)
    actor.draw(actor.normalise(seen, out=x), generator, out=actions)
    kept = x.copy(), actions.copy()
    actor.sample(-seen, generator)
    assert np.array_equal(x, kept[0])
    assert np.array_equal(actions, kept[1])


def test_an_actor_is_a_snapshot():
    policy, seen = make_policy(discrete=False), observations(8)
    actor, before = Actor(policy, 8), policy.sample(seen, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for tensor in (*policy.parameters(), *policy.buffers()):
            tensor.mul_(0.5)
    np.testing.assert_allclose(actor.sample(seen, torch.Generator().manual_seed(0)), before, atol=1e-5)


class Doubled(Policy):
    """A user's policy with a forward pass of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * self.network(x)


def test_other_networks_are_called_in_torch():
    doubled = Doubled(**make_policy(discrete=False).arguments)
    gated = make_policy(discrete=False)
    gated.network[1] = nn.Sigmoid()
    for policy in (doubled, gated):
        expected, actions = (
            p.sample(observations(6), torch.Generator().manual_seed(0)) for p in (policy, Actor(policy, 6))
        )
        np.testing.assert_allclose(actions, expected, atol=1e-6)
