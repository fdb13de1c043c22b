"""The likelihood against numbers worked out by hand, the split, the snapshot, the resume; and that it learns."""

import copy
import math

import numpy as np
import pytest
import torch
from scipy import stats

from algorithms.bc import BC, BCConfig, Cloner, negative_log_likelihood, pretrain, set_normalisers
from bench.envs import make_env
from bench.errors import UserError
from bench.policy import Policy
from bench.seeding import Streams
from bench.tasks import get_task
from bench.trajectory import Demonstrations, Trajectory

CARTPOLE, HOPPER = get_task("cartpole"), get_task("hopper")


def demonstrations_of(observations: np.ndarray, actions: np.ndarray) -> Demonstrations:
    steps = np.arange(len(actions))
    whole = Trajectory(np.concatenate([observations, observations[-1:]]), actions, np.ones(len(actions)), True, False)
    return Demonstrations(observations, actions, np.zeros_like(steps), steps, {0: 0}, (whole,), "digest")


def cartpole_pairs(count: int = 60) -> Demonstrations:
    """Push towards where the pole leans."""
    observations = np.random.default_rng(0).normal(size=(count, 4))
    return demonstrations_of(observations, (observations[:, 2] + observations[:, 3] > 0).astype(np.int64))


def hopper_pairs(count: int = 60) -> Demonstrations:
    rng = np.random.default_rng(0)
    observations = rng.normal(2, 3, size=(count, 11))
    observations[:, 4] = 7  # a coordinate that never changes
    return demonstrations_of(observations, np.tanh(observations[:, :3] - 2).astype(np.float32))


def make(task, demonstrations, seed=0, **settings) -> BC:
    return BC(BCConfig.build(settings), task, demonstrations, make_env(task, 1), Streams(seed))


def linear(task) -> Policy:
    """A policy without hidden layers and with zero weights."""
    policy = Policy.for_env(make_env(task, 1), hidden=())
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.zero_()
    return policy


def test_discrete_likelihood_by_hand():
    policy = linear(CARTPOLE)
    with torch.no_grad():
        policy.network[0].bias.copy_(torch.tensor([0.0, math.log(3.0)]))  # probabilities 1/4 and 3/4
    loss = negative_log_likelihood(policy, torch.zeros(2, 4), torch.tensor([0, 1]))
    torch.testing.assert_close(loss, torch.tensor([math.log(4.0), math.log(4.0 / 3.0)]))


def test_gaussian_likelihood_by_hand():
    """Means (0, 1, 0), deviations (1, 2, 1/2), action (1, 3, 0).

    z = (1, 1, 0), so -log p = (1 + 1 + 0) / 2 + log(1 * 2 * 1/2) + 3/2 log 2 pi = 1 + 3/2 log 2 pi.
    """
    policy = linear(HOPPER)
    with torch.no_grad():
        policy.network[0].bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
        policy.log_std.copy_(torch.log(torch.tensor([1.0, 2.0, 0.5])))
    loss = negative_log_likelihood(policy, torch.zeros(1, 11), torch.tensor([[1.0, 3.0, 0.0]]))
    torch.testing.assert_close(loss, torch.tensor([1 + 1.5 * math.log(2 * math.pi)]))


def test_gaussian_likelihood_is_scipys():
    policy = Policy.for_env(make_env(HOPPER, 1), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        policy.log_std.copy_(torch.tensor([-1.0, 0.0, 0.7]))
    x, actions = torch.randn(20, 11), torch.randn(20, 3)
    with torch.no_grad():
        mean, std = policy(x).numpy(), policy.log_std.exp().numpy()
        loss = negative_log_likelihood(policy, x, actions).numpy()
    np.testing.assert_allclose(loss, -stats.norm.logpdf(actions.numpy(), mean, std).sum(1), rtol=1e-5)


def test_one_step_by_hand():
    """Adam's first step moves every weight by the step size against its gradient's sign.

    One pair (s = 0, a = 1) and equal logits: d loss / d bias = (1/2, -1/2).
    """
    policy = linear(CARTPOLE)
    pair = demonstrations_of(np.zeros((1, 4)), np.ones(1, np.int64))
    cloner = Cloner(policy, pair, torch.Generator().manual_seed(0), learning_rate=0.01)
    assert cloner.step() == pytest.approx(math.log(2))
    torch.testing.assert_close(policy.network[0].bias.detach(), torch.tensor([-0.01, 0.01]))


def test_normalisers_are_the_pairs_mean_and_deviation():
    pairs = hopper_pairs()
    policy = make(HOPPER, pairs).policy
    np.testing.assert_allclose(policy.observation_mean, pairs.observations.mean(0))
    std = pairs.observations.std(0)
    std[4] = 1  # a constant coordinate is centred only
    np.testing.assert_allclose(policy.observation_std, std)
    np.testing.assert_allclose(policy.action_mean, pairs.actions.mean(0), rtol=1e-5)
    np.testing.assert_allclose(policy.action_std, pairs.actions.std(0), rtol=1e-5)


@pytest.mark.parametrize(("count", "training", "held"), [(10, 7, 3), (200, 140, 60), (2, 1, 1), (1, 1, 1)])
def test_the_split_is_70_to_30_and_disjoint(count, training, held):
    cloner = make(CARTPOLE, cartpole_pairs(count)).cloner
    rows = [{tuple(x.tolist()) for x in part[0]} for part in (cloner.training, cloner.validation)]
    assert [len(part) for part in rows] == [training, held]
    assert count == 1 or not rows[0] & rows[1]


def test_the_snapshot_with_the_best_validation_loss_is_kept():
    """Labels at random: training on them makes the held-out likelihood worse, and the snapshot stays early."""
    observations = np.random.default_rng(1).normal(size=(40, 4))
    noise = demonstrations_of(observations, np.random.default_rng(2).integers(2, size=40))
    bc = make(CARTPOLE, noise)
    first = bc.iterate()
    best = copy.deepcopy(bc.policy.state_dict())
    for _ in range(4):
        last = bc.iterate()
    assert last["training_loss"] < first["training_loss"]
    assert last["validation_loss"] > 2 * last["best_validation_loss"]
    assert last["best_validation_loss"] == first["best_validation_loss"]
    assert all(torch.equal(value, best[name]) for name, value in bc.policy.state_dict().items())
    with torch.no_grad():
        loss = negative_log_likelihood(bc.policy, *bc.cloner.validation).mean().item()
    assert loss == pytest.approx(last["best_validation_loss"])


def test_it_learns_a_discrete_policy():
    pairs = cartpole_pairs(400)
    bc = make(CARTPOLE, pairs)
    for _ in range(5):
        bc.iterate()
    assert (bc.act(pairs.observations.copy()) == pairs.actions).mean() > 0.95
    assert bc.env_steps == 0


def test_it_learns_a_continuous_policy_within_the_bounds():
    pairs = hopper_pairs(400)
    bc = make(HOPPER, pairs)
    for _ in range(8):
        bc.iterate()
    errors = bc.act(pairs.observations.copy()) - pairs.actions
    assert (errors**2).mean() < 0.1 * pairs.actions.var()
    assert bc.policy.log_std.max() < 0
    assert abs(bc.act(1e6 * np.ones((3, 11)))).max() <= 1


@pytest.mark.parametrize(
    ("task", "pairs"), [(CARTPOLE, cartpole_pairs), (HOPPER, hopper_pairs)], ids=["discrete", "box"]
)
def test_a_resumed_run_is_the_uninterrupted_one(task, pairs):
    whole, first, second = (make(task, pairs(), batch=8) for _ in range(3))
    metrics = [whole.iterate() for _ in range(4)]
    for _ in range(2):
        first.iterate()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert [second.iterate() for _ in range(2)] == metrics[2:]
    for name, value in whole.policy.state_dict().items():
        assert torch.equal(value, second.policy.state_dict()[name])
    other = make(task, pairs(), seed=1, batch=8)
    assert other.iterate() != metrics[0]


def test_pretraining_leaves_the_normalisers_and_the_global_stream_alone():
    pairs = cartpole_pairs(200)
    policy = Policy.for_env(make_env(CARTPOLE, 1), generator=torch.Generator().manual_seed(0))
    set_normalisers(policy, pairs)
    policy.observation_mean += 0.25
    buffers = {name: value.clone() for name, value in policy.named_buffers()}
    torch.manual_seed(0)
    loss = pretrain(policy, pairs, 200, torch.Generator().manual_seed(1))
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))
    assert loss < 0.3
    assert all(torch.equal(value, buffers[name]) for name, value in policy.named_buffers())


def test_the_policy_can_be_deterministic_in_the_limit():
    """Equal actions everywhere: the likelihood has no bound, the deviation has."""
    pairs = demonstrations_of(np.random.default_rng(0).normal(size=(30, 11)), np.full((30, 3), 0.5, np.float32))
    bc = make(HOPPER, pairs, learning_rate=0.1)
    for _ in range(5):
        metrics = bc.iterate()
    assert all(math.isfinite(value) for value in metrics.values())
    np.testing.assert_allclose(bc.act(pairs.observations.copy()), 0.5, atol=0.05)


@pytest.mark.parametrize("settings", [{"learning_rate": -1}, {"training_share": 0}, {"batch": 0}, {"epochs": 3}])
def test_bad_settings(settings):
    with pytest.raises(UserError):
        BCConfig.build(settings)
