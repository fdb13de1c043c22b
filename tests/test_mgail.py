"""MGAIL's own settings: each of them runs and matters, and those that cannot work are refused."""

import copy

import numpy as np
import pytest
import torch

from algorithms import mgail_tuned, resolve
from bench.errors import UserError
from bench.tasks import TASKS

MGAIL_VARIANTS = [
    {"segments": "on_policy", "env_steps_per_iteration": 160},
    {"segments": "replay"},
    {"memory": "constant"},
    {"objective": "paper"},
    {"init": "bc", "init_steps": 20},
    {"average": 0.0},
    {"starts": "mixed", "warmup_steps": 3200},
    {"starts": "expert"},
    {"critic": True},
    {"discriminator_matched": True},
    {"discriminator_dropout": 0.25},
    {"expert_weight": 0.5},
]


@pytest.mark.parametrize("task", ["cartpole", "hopper"])
@pytest.mark.parametrize("overrides", MGAIL_VARIANTS, ids=str)
def test_settings_of_mgail_run_and_matter(build, same, task, overrides):
    """Each named setting gives finite steps and another policy than the default."""
    default, changed = build("mgail-advanced", task), build("mgail-advanced", task, overrides=overrides)
    for _ in range(2):
        default.iterate()
        assert all(np.isfinite(value) for value in changed.iterate().values())
    assert not same(default.policy.state_dict(), changed.policy.state_dict())


def test_the_learner_is_pulled_to_its_average(build, same):
    """After the step and after the average's: the first pass's average is the learner itself, the second's is not."""
    free, pulled = (
        build("mgail-basic", "hopper", overrides=o) for o in ({"average": 0.5}, {"average": 0.5, "pull": 0.25})
    )
    for learner in (free, free, pulled, pulled):
        learner.iterate()
    parts = (learner.network.parameters() for learner in (free.learner, pulled.learner, pulled.policy))
    for without, found, averaged in zip(*parts, strict=True):
        assert not torch.equal(without, averaged)
        torch.testing.assert_close(found, 0.75 * without + 0.25 * averaged)
    assert same(free.policy.state_dict(), pulled.policy.state_dict())


def test_every_other_episode_begins_in_a_demonstrated_state(build, same):
    """With mixed starts: the buffer holds the first states of all episodes; a resumed learner (and critic) goes on."""
    overrides = {"starts": "mixed", "critic": True, "discriminator_matched": True}
    learner, resumed = (build("mgail-basic", "hopper", overrides=overrides) for _ in range(2))
    learner.iterate()
    buffer, expert = learner.buffer, learner.expert[:, : learner.buffer.states.shape[-1]]
    behind = buffer.done[: buffer.cursor - 1, :, 0].bool()
    firsts = buffer.states[1 : buffer.cursor][behind]
    demonstrated = torch.isclose(firsts[:, None], expert, atol=1e-4).all(-1).any(-1)
    assert len(firsts) > 30
    assert 0.3 < demonstrated.float().mean() < 0.7
    before, after = buffer.elapsed[: buffer.cursor - 1], buffer.elapsed[1 : buffer.cursor]
    assert torch.equal(after[~behind], before[~behind] + 1)
    assert not after[behind][~demonstrated].any()
    assert set(after[behind][demonstrated].tolist()) <= set(learner.demonstrations.step.tolist())
    resumed.load_state_dict(copy.deepcopy(learner.state_dict()))
    learner.iterate()
    resumed.iterate()
    assert same(learner.state_dict(), resumed.state_dict())


@pytest.mark.parametrize("task", ["cartpole", "hopper"])
@pytest.mark.parametrize("name", ["mgail-basic", "mgail-advanced"])
def test_the_authors_settings(build, same, name, task):
    """D and the policy take turns, D first; acting starts at demonstrated states; a resumed learner goes on alike."""
    learner, resumed = (build(name, task, overrides={"turns": 1}, variant="authors") for _ in range(2))
    first = copy.deepcopy(learner.policy.state_dict())
    of_d = learner.iterate()
    assert same(learner.policy.state_dict(), first)
    demonstrated = learner.env.states_of(learner.demonstrations.observations)
    for state in learner.env.simulator_states():
        assert np.isclose(demonstrated, state, atol=1e-6).all(1).any()
    resumed.load_state_dict(copy.deepcopy(learner.state_dict()))
    of_policy = learner.iterate()
    assert not same(learner.policy.state_dict(), first)
    assert of_d.keys() == of_policy.keys()
    for metrics, absent in ((of_d, {"cost", "gradient_norm", "adjoint_norm"}), (of_policy, {"discriminator_loss"})):
        assert {key for key, value in metrics.items() if not np.isfinite(value)} >= absent
    resumed.iterate()
    assert same(learner.state_dict(), resumed.state_dict())


def test_nothing_tuned_is_left_in_the_authors_settings():
    for tuned in (mgail_tuned.BASIC_TUNED, mgail_tuned.ADVANCED_TUNED):
        for task, settings in tuned.items():
            config = resolve("mgail-advanced", task, variant="authors")[1]
            assert set(settings) - set(mgail_tuned.AUTHORS) <= config.idle(TASKS[task])
    assert resolve("mgail-advanced", "hopper", "smoke", "authors")[1].iterations == 2


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"horizon": 150}, r"horizon=150 needs warmup_steps of at least 2528, not 1600: 158 steps"),
        (
            {"horizon": 150, "memory": "constant"},
            r"horizon=150 needs warmup_steps of at least 2400, not 1600",
        ),
        ({"warmup_steps": 0, "burn_in": 0}, r"horizon=5 needs warmup_steps of at least 80, not 0"),
        (
            {"segments": "on_policy", "env_steps_per_iteration": 1600},
            r"env_steps_per_iteration=1600 needs",
        ),
        ({"burn_in": 256}, r"horizon=5 needs warmup_steps of at least 4176, not 1600: 261 steps"),
        ({"critic": True, "gamma": 1.0}, r"critic=True needs a gamma below 1"),
        (
            {"critic": True, "burn_in": 0, "num_envs": 100},
            r"critic=True needs warmup_steps of at least 2000, not 1600: 20 steps",
        ),
        ({"hidden": [64, 0]}, r"setting hidden\.1=0: "),
    ],
    ids=str,
)
def test_settings_of_mgail_that_cannot_work_are_refused(overrides, message):
    with pytest.raises(UserError, match=f"^mgail-advanced: {message}"):
        resolve("mgail-advanced", "cartpole", "smoke", overrides=overrides)


def test_steps_shrink_as_said():
    linear, exponential = (
        resolve("mgail-basic", "hopper", overrides={"iterations": 100, "final_rate": 0.01, "decay": decay})[1]
        for decay in ("linear", "exponential")
    )
    assert [linear.fraction(i) for i in (0, 50, 100)] == pytest.approx([1, 0.5, 0.01])
    assert [exponential.fraction(i) for i in (0, 50, 100)] == pytest.approx([1, 0.1, 0.01])


def test_the_cost_to_go_weighs_more_as_steps_shrink(build, monkeypatch):
    steps = {"iterations": 2, "final_rate": 0.01, "decay": "exponential"}  # of 1, then 0.1
    learner = build("mgail-basic", "walker2d", overrides=steps | {"critic_weight": 3.0, "critic_growth": 0.5})
    found = []
    monkeypatch.setattr(learner.critic, "close", lambda *given: found.append(given[-1]))
    for _ in range(2):
        learner.iterate()
    assert found == pytest.approx([3, 3 * 10**0.5])


def test_the_longest_sequences_that_the_warm_up_holds_work(build):
    on_policy = {"segments": "on_policy", "env_steps_per_iteration": 1472}
    for overrides in ({"horizon": 92}, on_policy, {"segments": "on_policy", "horizon": 200}):
        learner = build("mgail-advanced", "cartpole", overrides=overrides)  # 92 + 8 of burn-in = 1600 / 16
        assert all(np.isfinite(value) for value in learner.iterate().values())


def test_the_critic_uses_the_batch_size_where_the_walk_does_not(build):
    on_policy = {"segments": "on_policy", "env_steps_per_iteration": 160, "critic": True}
    errors = []
    for size in (8, 64):
        learner = build("mgail-basic", "hopper", overrides=on_policy | {"batch_size": size})
        errors.append(learner.iterate()["critic_error"])
    assert errors[0] != errors[1]
