import numpy as np
import pytest
import torch

from algorithms.baseline import Baseline, BaselineConfig, explained_variance, regress
from algorithms.normalize import RunningNormalizer
from algorithms.rollout import Collector
from bench.envs import make_env
from bench.policy import Policy, mlp
from bench.tasks import TASKS


def collector_of(task, rows=3, seed=0):
    env = make_env(TASKS[task], rows)
    policy = Policy.for_env(env, hidden=(8,), generator=torch.Generator().manual_seed(seed))
    return Collector(env, policy, seed, torch.Generator().manual_seed(seed + 1))


@pytest.mark.parametrize("task", ["cartpole", "hopper"])
def test_a_rollout_is_what_happened(task):
    """Replaying the executed actions in a fresh environment gives every field again."""
    collector = collector_of(task)
    first, second = collector.collect(60), collector.collect(50)
    env = make_env(TASKS[task], 3)
    observations, _ = env.reset(seed=0)
    ended = 0
    for rollout in (first, second):
        for t in range(len(rollout.rewards)):
            assert np.array_equal(rollout.observations[t], observations)
            observations, rewards, terminated, truncated, info = env.step(rollout.executed[t])
            assert np.array_equal(rollout.rewards[t], rewards)
            assert np.array_equal(rollout.next_observations[t], info["final_obs"])
            assert np.array_equal(rollout.terminated[t], terminated)
            assert np.array_equal(rollout.truncated[t], truncated & ~terminated)
            ended += (terminated | truncated).sum()
    assert ended > 0
    assert first.steps == 180
    assert torch.equal(first.x, collector.policy.normalise(first.observations))
    generator = torch.Generator().manual_seed(1)
    for x, actions in zip(first.x, first.actions, strict=True):  # as the policy itself draws them
        torch.testing.assert_close(actions, collector.policy.draw(x, generator))
    if task == "hopper":  # executed actions are the drawn ones within the bounds
        np.testing.assert_array_equal(first.executed, first.actions.clamp(-1, 1).numpy())
        assert (first.actions.abs() > 1).any()


def test_collection_resumes_bit_for_bit():
    collector, other = collector_of("cartpole"), collector_of("cartpole", seed=9)
    collector.collect(20)
    other.policy.load_state_dict(collector.policy.state_dict())
    other.load_state_dict(collector.state_dict())
    a, b = collector.collect(20), other.collect(20)
    assert np.array_equal(a.next_observations, b.next_observations)
    assert torch.equal(a.actions, b.actions)


def test_advantages_value_true_successors():
    """Bootstrapping uses V(s') of the true successor, zero behind a termination."""
    collector = collector_of("cartpole")
    config = BaselineConfig(value_hidden=(8,), gamma=0.9)
    baseline = Baseline(config, 4, torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    rollout = collector.collect(60)
    assert rollout.terminated.any()
    rewards = np.ones((60, 3))
    advantages, targets = baseline.advantages(collector.policy, rollout, rewards, lambda_=0.0)
    values = baseline.values(rollout.x)
    successors = baseline.values(collector.policy.normalise(rollout.next_observations))
    np.testing.assert_allclose(targets, 1 + 0.9 * successors * ~rollout.terminated, rtol=1e-5)
    np.testing.assert_allclose(advantages, targets - values, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("hidden", [(), (7,), (16, 5)])
def test_the_gradient_by_hand_is_autograds(hidden):
    generator = torch.Generator().manual_seed(0)
    network = mlp([3, *hidden, 1], "tanh", generator)
    x, targets = torch.randn(20, 3, generator=generator), torch.randn(20, generator=generator)
    regress(network, x, targets)
    loss = (network(x).squeeze(-1) - targets).square().mean()
    expected = torch.autograd.grad(loss, list(network.parameters()))
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient)


def test_baseline_learns_its_targets():
    config = BaselineConfig(value_hidden=(16,), gamma=0.9, value_epochs=100, value_batch=50, value_learning_rate=1e-2)
    baseline = Baseline(config, 1, torch.Generator().manual_seed(0), torch.Generator().manual_seed(1))
    x = torch.linspace(-1, 1, 200)[:, None]
    targets = 10 * x[:, 0] ** 2
    explained = []
    for _ in range(2):
        explained.append(explained_variance(targets.numpy() - baseline.values(x), targets.numpy()))
        baseline.fit(x, targets)
    assert explained[0] < 0.5
    assert explained[1] > 0.9


def test_running_normalizer_equals_the_whole_batch():
    rng = np.random.default_rng(0)
    batches = [rng.normal(3, 2, size=shape) for shape in ((5, 2), (4, 3, 2), (1, 2))]
    normalizer = RunningNormalizer(2)
    for batch in batches:
        normalizer.update(batch)
    everything = np.concatenate([batch.reshape(-1, 2) for batch in batches])
    np.testing.assert_allclose(normalizer.mean, everything.mean(0))
    np.testing.assert_allclose(normalizer.variance, everything.var(0))
    policy = Policy(2, 2, True, hidden=(4,))
    normalizer.write(policy)
    np.testing.assert_allclose(policy.normalise(everything).std(0, correction=0).numpy(), 1, rtol=1e-5)
    copy = RunningNormalizer(2)
    copy.load_state_dict(normalizer.state_dict())
    normalizer.update(batches[0])
    copy.update(batches[0])
    assert np.array_equal(copy.mean, normalizer.mean)
