"""Episodes depend on nothing but the policy and their number, and are those that Gymnasium would give."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.envs import make_env
from bench.errors import UserError
from bench.policy import Policy
from bench.tasks import get_task
from bench.trajectory import Trajectory
from datasets import demonstrations as data
from datasets import digest as digests
from datasets import store as stores
from datasets.collect import FIRST_SEED, collect
from datasets.make import gymnasiums

CARTPOLE, MOUNTAINCAR, HOPPER = (get_task(name) for name in ("cartpole", "mountaincar", "hopper"))


def same(a: Trajectory, b: Trajectory) -> bool:
    return digests.episode_digest(a) == digests.episode_digest(b)


@pytest.mark.parametrize("task", [MOUNTAINCAR, HOPPER], ids=lambda task: task.name)
def test_episodes_do_not_depend_on_how_many_are_stepped_together(task):
    policy = Policy.for_env(make_env(task, 1), hidden=(64, 64), generator=torch.Generator().manual_seed(0))
    task = replace(task, horizon=60)
    together = list(collect(task, policy, range(20)))
    singly = list(collect(task, policy, range(20), batch=1))
    later = list(collect(task, policy, range(13, 20), batch=5))
    assert all(same(a, b) for a, b in zip(together, singly, strict=True))
    assert all(same(a, b) for a, b in zip(together[13:], later, strict=True))
    assert [t.seed for t in together] == [FIRST_SEED + i for i in range(20)]


def test_an_episode_is_gymnasiums():
    """Actions as stored, executed by plain Gymnasium from the stored seed, give the stored observations and rewards."""
    import gymnasium

    policy = Policy.for_env(make_env(HOPPER, 1), generator=torch.Generator().manual_seed(1))
    trajectory = next(collect(HOPPER, policy, range(3, 4)))
    env = gymnasium.make(HOPPER.env_id)
    observation, _ = env.reset(seed=trajectory.seed)
    np.testing.assert_array_equal(observation, trajectory.observations[0])
    for t, action in enumerate(trajectory.actions):
        observation, reward, terminated, truncated, _ = env.step(action)
        np.testing.assert_array_equal(observation, trajectory.observations[t + 1])
        assert reward == trajectory.rewards[t]
    assert (terminated, truncated) == (trajectory.terminated, trajectory.truncated) == (True, False)
    env.close()


def test_actions_are_sampled_and_stored_as_executed():
    policy = Policy.for_env(make_env(HOPPER, 1), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        policy.log_std.fill_(1.0)
    actions = np.concatenate([t.actions for t in collect(HOPPER, policy, range(4))])
    assert actions.dtype == np.float32
    assert actions.min() == -1
    assert actions.max() == 1
    assert len(np.unique(actions)) > 10


def test_sampling_follows_the_policys_probabilities():
    """CartPole has two actions: logits (0, log 3) choose the second in three of four cases."""
    policy = Policy.for_env(make_env(CARTPOLE, 1), hidden=())
    with torch.no_grad():
        policy.network[0].weight.zero_()
        policy.network[0].bias.copy_(torch.tensor([0.0, np.log(3.0)]))
    actions = np.concatenate([t.actions for t in collect(CARTPOLE, policy, range(100))])
    assert abs(actions.mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / len(actions))


def test_a_users_stochastic_policy_gets_the_episodes_own_generators(policies):
    from bench.policy import import_attribute

    noisy = import_attribute(f"{policies}:noisy")
    together = list(collect(HOPPER, noisy, range(6)))
    apart = list(collect(HOPPER, noisy, range(6), batch=4))
    assert all(same(a, b) for a, b in zip(together, apart, strict=True))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("floats", "must return 16 integers from 0 to 1"),
        ("too_few", "int64 of shape (3,)"),
        ("missing", "has no 'missing'"),
        ("constant", "is not a function"),
    ],
)
def test_a_users_policy_that_is_wrong_is_told_so(policies, tmp_path, name, message):
    with pytest.raises(UserError) as error:
        data.make_demonstrations(CARTPOLE, 2, tmp_path, policy=f"{policies}:{name}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert stores.scan(tmp_path) == []


@pytest.mark.parametrize("name", ["halfcheetah", "humanoid"])
def test_mujocos_warnings_stay_off_the_terminal_and_out_of_the_folder(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    _, observation_space, action_space = gymnasiums(get_task(name))
    env = make_env(get_task(name), 1)
    assert (observation_space, action_space) == (env.single_observation_space, env.single_action_space)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
