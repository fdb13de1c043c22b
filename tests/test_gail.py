import copy
import itertools

import numpy as np
import pytest
import torch
from gymnasium import spaces

from algorithms.baseline import Baseline, gae
from algorithms.discriminator import Discriminator, reward
from algorithms.gail import GAIL, PAPER, GAILConfig
from algorithms.reinforce import Reinforce, policy_gradient_loss
from algorithms.rollout import Rollout
from algorithms.trpo import TRPO
from bench.envs import make_env
from bench.evaluate import evaluate
from bench.policy import Policy
from bench.seeding import Streams
from bench.tasks import TASKS
from bench.trajectory import Demonstrations, Trajectory


def demonstrations_of(task, act, episodes=2, every=5):
    """Return every few pairs of a rule's episodes."""
    parts = []
    evaluate(act, task, range(episodes), lambda step: parts.append(step))
    observations = np.concatenate([part.observations for part in parts])[::every]
    actions = np.concatenate([part.actions for part in parts])[::every]
    trajectory = Trajectory(np.zeros((2, 1)), np.zeros(1), np.zeros(1), True, False)
    zeros = np.zeros(len(actions), dtype=np.int64)
    return Demonstrations(observations, actions, zeros, zeros.copy(), {0: 0}, (trajectory,), "test")


def balance(observations):
    """Keep CartPole upright for its 200 steps."""
    return (observations @ np.array([0.1, 0.5, 5.0, 1.0]) > 0).astype(np.int64)


def build(task_name="cartpole", seed=1000, demonstrations=None, **settings):
    task = TASKS[task_name]
    config = GAILConfig.build({"num_envs": 8, "steps": 25, "reward_form": task.reward_form}, settings)
    demonstrations = demonstrations or demonstrations_of(TASKS["cartpole"], balance)
    return GAIL(config, task, demonstrations, make_env(task, config.num_envs), Streams(seed))


def test_rewards_by_hand():
    """D = p(agent): 1/2 at logit 0 and 0.9 at logit log 9."""
    logits = torch.tensor([0.0, np.log(9.0)], dtype=torch.float64)
    np.testing.assert_allclose(reward(logits, "positive"), [-np.log(0.5), -np.log(0.9)])
    np.testing.assert_allclose(reward(logits, "negative"), [np.log(0.5), np.log(0.1)])


@pytest.mark.parametrize("form", ["positive", "negative"])
@pytest.mark.parametrize("generator", ["trpo", "reinforce"])
def test_agent_moves_towards_the_expert_in_one_dimension(form, generator):
    """One state, one action, episodes of one step: the expert acts at -1, so D's reward must pull the mean there."""
    config = GAILConfig(value_hidden=(8,), policy_learning_rate=0.01, gradient_penalty=1.0)
    streams = Streams(0)
    policy = Policy(1, 1, False, hidden=(8,), low=[-3.0], high=[3.0], generator=streams.torch("init"))
    baseline = Baseline(config, 1, streams.torch("value"), streams.torch("baseline"))
    step = TRPO(policy, baseline, config, streams.torch("fisher"))
    if generator == "reinforce":
        step = Reinforce(policy, baseline, config)
    discriminator = Discriminator(1, (16,), 1e-2, 1.0, streams.torch("d"), streams.torch("mix"))
    zeros, ends = np.zeros((1, 400, 1)), np.ones((1, 400), bool)
    x = torch.zeros(1, 400, 1)
    expert = torch.full((400, 1), -1.0)
    start, noise = policy(x[0, :1]).item(), streams.torch("actions")
    for _ in range(30):
        actions = policy.draw(x, noise)
        for _ in range(5):
            discriminator.update(actions[0], expert)
        with torch.no_grad():
            rewards = reward(discriminator.logits(actions), form)
            assert (rewards >= 0).all() if form == "positive" else (rewards <= 0).all()
            at_expert, at_agent = reward(discriminator.logits(torch.tensor([[-1.0], [1.0]])), form)
            assert at_expert > at_agent
        rollout = Rollout(zeros, x, actions, actions.numpy(), zeros, zeros[..., 0], ends, ~ends)
        step.update(rollout, rewards.double().numpy())
    assert abs(start) < 0.5
    assert policy(x[0, :1]).item() < start - 0.2


class TwoStates:
    """A deterministic decision process of three steps, to be enumerated: s' = (s + a) mod 2, r = table[s, a]."""

    table = np.array([[1.0, -0.5], [0.3, 2.0]])
    horizon = 3

    def trajectories(self):
        for actions in itertools.product((0, 1), repeat=self.horizon):
            states = list(itertools.accumulate(actions, lambda s, a: (s + a) % 2, initial=0))[:-1]
            yield np.array(states), np.array(actions), self.table[states, actions]


def test_reinforce_is_the_exact_gradient_on_average():
    """Over all trajectories, by their probability, with any baseline: the estimate is the gradient of E[sum r]."""
    policy = Policy(1, 2, True, hidden=(5,), generator=torch.Generator().manual_seed(0)).double()
    parameters = list(policy.parameters())
    expected_return, estimate = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for states, actions, rewards in TwoStates().trajectories():
        x = torch.from_numpy(states[:, None]).double()
        log_probs = policy(x).log_softmax(-1)[torch.arange(3), torch.from_numpy(actions)]
        probability = log_probs.sum().exp()
        expected_return = expected_return + probability * rewards.sum()
        values = np.array([0.7, -1.3])[states][:, None]  # any function of the state
        ends = np.array([[False], [False], [True]])
        advantages = gae(rewards[:, None], values, np.roll(values, -1), ends, np.zeros_like(ends), 1.0, 1.0)
        loss = policy_gradient_loss(log_probs, torch.from_numpy(advantages[:, 0]))
        estimate = estimate - probability.detach() * 3 * loss  # the loss is a mean over three steps
    exact = torch.autograd.grad(expected_return, parameters, retain_graph=True)
    for ours, theirs in zip(torch.autograd.grad(estimate, parameters), exact, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("generator", ["trpo", "reinforce"])
@pytest.mark.parametrize("settings", [{}, {"average": 0.9, "entropy": 0.1}, {"init": "bc", "init_steps": 40}], ids=str)
def test_resume_is_exact(generator, settings):
    settings = {"generator": generator, **settings}
    learner, resumed = build(**settings), build(seed=1001, **settings)
    learner.iterate()
    resumed.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert learner.iterate() == resumed.iterate()
    for ours, theirs in ((learner.learner, resumed.learner), (learner.policy, resumed.policy)):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    assert learner.env_steps == resumed.env_steps


def test_settings_matter():
    """Each changes the first update; D's steps are long here, for the penalty to have something to charge."""
    plain = build(discriminator_learning_rate=0.03)
    plain.iterate()
    for settings in ({"entropy": 1.0}, {"gradient_penalty": 0.0}, {"init": "bc"}, {"gae_lambda": 0}):
        changed = build(**{"discriminator_learning_rate": 0.03, **settings})
        changed.iterate()
        assert not torch.equal(changed.policy.network[0].weight, plain.policy.network[0].weight), settings


def test_average_follows_with_a_growing_memory():
    """Steps of 1, 1 / (1 + share), 1 / (1 + 2 share), ..."""
    learner = build(average=0.5)
    for rate in (1.0, 1 / 1.5, 1 / 2):
        before = [p.detach().clone() for p in learner.policy.parameters()]
        learner.iterate()
        for old, new, current in zip(before, learner.policy.parameters(), learner.learner.parameters(), strict=True):
            torch.testing.assert_close(new, (1 - rate) * old + rate * current)
    assert torch.equal(learner.policy.observation_mean, learner.learner.observation_mean)


def test_observation_scale_stands_still():
    learner = build()
    learner.iterate()
    scale = learner.policy.observation_std.clone()
    learner.iterate()
    assert torch.equal(scale, learner.policy.observation_std)
    assert learner.env_steps == 3 * 8 * 25  # the batch that set it is counted


def test_discriminator_sees_executed_actions():
    """Of an action beyond the bounds, D sees what the environment executed."""
    task = TASKS["hopper"]
    space = make_env(task, 1).single_action_space
    assert isinstance(space, spaces.Box)
    random = np.random.default_rng(0)
    demonstrations = demonstrations_of(
        task, lambda o: random.uniform(-1, 1, (len(o), 3)).astype(np.float32), episodes=4, every=1
    )
    learner = build("hopper", demonstrations=demonstrations)
    with torch.no_grad():
        learner.learner.log_std.fill_(2.0)
    rollout = learner.collector.collect(10)
    inputs = learner._inputs(rollout.x, torch.from_numpy(rollout.executed))
    executed = inputs[..., -3:] * learner.learner.action_std + learner.learner.action_mean
    assert executed.abs().max() <= 1 + 1e-5
    assert (learner.learner.action_mean + learner.learner.action_std * rollout.actions).abs().max() > 1.5


def test_budgets_of_ho_and_ermon():
    for name, settings in PAPER.items():
        expected = {"humanoid": (1500, 50_000)}.get(
            name, (300, 5000) if TASKS[name].family == "classic" else (500, 50_000)
        )
        assert (settings["iterations"], settings["num_envs"] * settings["steps"]) == expected


@pytest.mark.learning
@pytest.mark.parametrize(
    "settings",
    [{"generator": "trpo", "iterations": 15, "steps": 60}, {"generator": "reinforce", "iterations": 40, "steps": 40}],
    ids=["trpo", "reinforce"],
)
def test_cartpole_is_learned(settings):
    """From two demonstrations of a rule, a random policy's 20 steps grow to more than 100."""
    learner = build(num_envs=25, value_epochs=3, **settings)
    for _ in range(settings["iterations"]):
        learner.iterate()
    assert evaluate(learner.act, TASKS["cartpole"], range(3_000_000, 3_000_010)).returns.mean() > 100
