"""Every method on every task keeps the contract of `bench.algorithm`; a new entry in either table is tested unasked."""

import copy
import json

import numpy as np
import pytest
import torch

from algorithms import ALGORITHMS, mgail_tuned, resolve
from bench.algorithm import Algorithm
from bench.envs import make_env
from bench.errors import UserError
from bench.seeding import Streams
from bench.tasks import TASKS
from bench.trajectory import Demonstrations
from slurm import grid

CASES = [(name, task) for name in ALGORITHMS for task in TASKS]


def demonstrations_of(task, pairs=40):
    """Return pairs of a simple rule's behaviour: enough for the contract, and no expert is needed."""
    env = make_env(task, 1)
    observation, _ = env.reset(seed=5)
    space = env.single_action_space
    observations, actions = [], []
    for _ in range(pairs):
        x = observation[0]
        action = int(x.sum() > 0) if task.discrete else space.high * np.sin(30 * np.resize(x, space.shape))
        observations.append(observation[0])
        actions.append(action)
        observation = env.step(np.asarray([action]))[0]
    zeros = np.zeros(pairs, dtype=np.int64)
    dtype = np.int64 if task.discrete else np.float32
    return Demonstrations(np.stack(observations), np.asarray(actions, dtype), zeros, zeros.copy(), {0: 0}, (), "test")


def build(name, task_name, seed=1000, overrides=None, wrap=lambda env: env, variant=None):
    task = TASKS[task_name]
    cls, config = resolve(name, task_name, "smoke", variant, overrides)
    return cls(config, task, demonstrations_of(task), wrap(make_env(task, config.num_envs)), Streams(seed))


def same(a, b):
    """Compare nested states bit for bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return np.array_equal(a, b)


@pytest.mark.parametrize(("name", "task"), CASES)
def test_contract(name, task):
    """Finite metrics under equal keys; a resumed learner equals one that went on, and so does one of the same seed."""
    learner, twin = build(name, task), build(name, task)
    assert isinstance(learner, Algorithm)
    first = learner.iterate()
    saved = copy.deepcopy(learner.state_dict())  # as a file would hold it
    resumed = build(name, task, seed=1001)
    resumed.load_state_dict(saved)
    second = learner.iterate()
    assert first.keys() == second.keys()
    assert all(np.isfinite(value) for value in second.values())

    resumed.iterate()
    twin.iterate()
    twin.iterate()
    reference = learner.state_dict()
    assert same(reference, twin.state_dict())
    # BC's split of the pairs follows from the seed and is not state; all others must not remember their seed
    if name != "bc":
        assert same(reference, resumed.state_dict())

    other = build(name, task, seed=1002)
    assert not same(other.policy.state_dict(), twin.policy.state_dict())
    env = make_env(TASKS[task], 3)
    actions = learner.act(env.reset(seed=0)[0])
    env.step(actions)
    assert np.array_equal(actions, learner.act(env.reset(seed=0)[0]))


class Unrewarded:
    """An environment that gives no numbers as rewards: whoever computes with one ends with none."""

    def __init__(self, env):
        self.env = env

    def __getattr__(self, name):
        return getattr(self.env, name)

    def step(self, actions):
        observations, rewards, *rest = self.env.step(actions)
        return observations, np.full_like(rewards, np.nan), *rest


@pytest.mark.parametrize("task", ["cartpole", "hopper"])
@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_the_tasks_reward_is_not_looked_at(name, task):
    seeing, blind = build(name, task), build(name, task, wrap=Unrewarded)
    for _ in range(2):
        assert seeing.iterate() == blind.iterate()
    assert same(seeing.state_dict(), blind.state_dict())


@pytest.mark.parametrize("preset", ["smoke", "quick", "full", "paper"])
@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_settings_survive_json(name, preset):
    for task in TASKS:
        cls, config = resolve(name, task, preset)
        assert cls.Config(**json.loads(json.dumps(config.model_dump(mode="json")))) == config


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
def test_settings_of_mgail_run_and_matter(task, overrides):
    """Each named setting gives finite steps and another policy than the default."""
    default, changed = build("mgail-advanced", task), build("mgail-advanced", task, overrides=overrides)
    for _ in range(2):
        default.iterate()
        assert all(np.isfinite(value) for value in changed.iterate().values())
    assert not same(default.policy.state_dict(), changed.policy.state_dict())


def test_the_learner_is_pulled_to_its_average():
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


def test_every_other_episode_begins_in_a_demonstrated_state():
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
def test_the_authors_settings(name, task):
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


OF_D = {"discriminator_learning_rate": 1.0, "discriminator_steps": 1, "discriminator_batch": 3, "gradient_penalty": 9.0}
IDLE = [
    *(("bc", task, {"num_envs": 3}) for task in ("cartpole", "hopper")),
    ("gail-trpo", "cartpole", {"policy_learning_rate": 0.5}),
    ("gail-trpo", "cartpole", {"init_steps": 3}),
    *(
        ("gail-reinforce", "hopper", {key: value})
        for key, value in {"gae_lambda": 0.1, "max_kl": 1.0, "cg_iterations": 1, "fisher_samples": 5}.items()
    ),
    ("gail-reinforce", "hopper", {"cg_damping": 1.0}),
    ("mgail-basic", "cartpole", {"sigma": 2.0}),
    ("mgail-basic", "hopper", {"temperature": 9.0}),
    ("mgail-basic", "hopper", {"entropy": 9.0}),
    ("mgail-basic", "hopper", {"memory": "constant"}),
    ("mgail-basic", "hopper", {"burn_in": 1}),
    ("mgail-basic", "hopper", {"init_steps": 1}),
    ("mgail-basic", "hopper", {"critic_rate": 1.0}),
    ("mgail-basic", "hopper", {"critic_age": 400}),
    ("mgail-basic", "hopper", {"critic_lambda": 0.5}),
    ("mgail-basic", "hopper", {"critic_weight": 2.0}),
    ("mgail-basic", "hopper", {"critic_growth": 1.0}),
    ("mgail-basic", "hopper", {"average": 0.0, "pull": 0.5}),
    ("mgail-advanced", "hopper", {"memory": "constant", "burn_in": 1}),
    ("mgail-advanced", "hopper", {"segments": "replay", "correction_clip": 1e-3}),
    ("mgail-advanced", "cartpole", {"segments": "on_policy", "env_steps_per_iteration": 160, "batch_size": 3}),
    ("mgail-advanced", "cartpole", {"segments": "on_policy", "env_steps_per_iteration": 160, "segment_age": 3}),
    *(("gail-trpo", "cartpole", {"signal": "frozen", key: value}) for key, value in OF_D.items()),
    *(
        ("gail-trpo", "cartpole", {"signal": "plus", key: value})
        for key, value in (OF_D | {"reward_form": "negative", "discriminator_hidden": (3,)}).items()
    ),
    *(
        ("mgail-basic", "cartpole", {"signal": "frozen", key: value})
        for key, value in {
            "discriminator_rate": 1.0,
            "discriminator_batch": 3,
            "discriminator_age": 40,
            "discriminator_matched": True,
            "gradient_penalty": 0.5,
            "expert_weight": 0.5,
            "scale": "demonstrations",
        }.items()
    ),
]
"""(method, task, settings of which the last would change nothing)."""


@pytest.mark.parametrize(("name", "task", "overrides"), IDLE, ids=str)
def test_a_setting_that_would_change_nothing_is_refused_and_does_not(name, task, overrides, monkeypatch):
    *others, idle = overrides
    with pytest.raises(UserError, match=f"^{name}: setting {idle} would change nothing on {task}"):
        resolve(name, task, overrides=overrides)
    plain = build(name, task, overrides={key: overrides[key] for key in others})
    monkeypatch.setattr(type(plain.config), "idle", lambda self, task: set())
    changed = build(name, task, overrides=overrides)
    for _ in range(2):
        assert plain.iterate() == changed.iterate()
    assert same(plain.policy.state_dict(), changed.policy.state_dict())


def test_every_setting_that_is_said_to_change_nothing_was_tried():
    said = {(name, key) for name, task in CASES for key in resolve(name, task)[1].idle(TASKS[task])}
    tried = {key for *_, overrides in IDLE for key in overrides}
    assert {key for _, key in said} <= tried
    assert all(key in resolve(name, "hopper")[1].model_dump() for name, key in said)


def test_a_name_stands_for_its_settings():
    with pytest.raises(UserError, match=r"^gail-trpo: setting generator is trpo, as the name says"):
        resolve("gail-trpo", "hopper", overrides={"generator": "reinforce"})
    assert resolve("mgail-basic", "hopper", overrides={"forward_model": "basic"})[1].forward_model == "basic"


def test_unknown_names_say_what_is_known():
    with pytest.raises(UserError, match="known: bc, gail-reinforce"):
        resolve("gale", "cartpole")
    with pytest.raises(UserError, match=r"unknown setting horizn; known: .*horizon"):
        resolve("mgail-basic", "cartpole", overrides={"horizn": 3})
    with pytest.raises(UserError, match="horizon='long'"):
        resolve("mgail-basic", "cartpole", overrides={"horizon": "long"})
    with pytest.raises(UserError, match="known: smoke, quick, full, paper"):
        resolve("bc", "cartpole", preset="fast")


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


def test_the_cost_to_go_weighs_more_as_steps_shrink(monkeypatch):
    steps = {"iterations": 2, "final_rate": 0.01, "decay": "exponential"}  # of 1, then 0.1
    learner = build("mgail-basic", "walker2d", overrides=steps | {"critic_weight": 3.0, "critic_growth": 0.5})
    found = []
    monkeypatch.setattr(learner.critic, "close", lambda *given: found.append(given[-1]))
    for _ in range(2):
        learner.iterate()
    assert found == pytest.approx([3, 3 * 10**0.5])


def test_the_longest_sequences_that_the_warm_up_holds_work():
    for overrides in ({"horizon": 92}, {"segments": "on_policy", "env_steps_per_iteration": 1472}):
        learner = build("mgail-advanced", "cartpole", overrides=overrides)  # 92 + 8 of burn-in = 1600 / 16
        assert all(np.isfinite(value) for value in learner.iterate().values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def broken(:", r"method\.py, line 1: invalid syntax"),
        ("import no_such_module", r"method\.py cannot be imported: No module named 'no_such_module'"),
        ("class Mine:\n    Config = 3", r"needs a class attribute Config"),
        ("", r"has no 'Mine'"),
    ],
)
def test_a_file_that_is_no_method_is_one_clear_line(tmp_path, text, message):
    path = tmp_path / "method.py"
    path.write_text(text)
    for _ in range(2):  # the first try leaves no half-made module behind
        with pytest.raises(UserError, match=message):
            resolve(f"{path}:Mine", "cartpole")


def test_the_grid_runs_these_methods():
    assert tuple(ALGORITHMS) == grid.ALGORITHMS
