"""Every method on every task keeps the contract of `bench.algorithm`; a new entry in either table is tested unasked."""

import copy
import json

import numpy as np
import pytest

from algorithms import ALGORITHMS, resolve
from bench.algorithm import Algorithm
from bench.envs import make_env
from bench.errors import UserError
from bench.tasks import TASKS
from slurm import grid

CASES = [(name, task) for name in ALGORITHMS for task in TASKS]


@pytest.mark.parametrize(("name", "task"), CASES)
def test_contract(build, same, name, task):
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
def test_the_tasks_reward_is_not_looked_at(build, same, name, task):
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
    ("mgail-basic", "hopper", {"final_rate": 1.0, "decay": "exponential"}),
    ("mgail-basic", "walker2d", {"final_rate": 1.0, "critic_growth": 1.0}),
    ("mgail-basic", "cartpole", {"init": "bc", "scale": "demonstrations"}),
    ("mgail-basic", "cartpole", {"gradient_penalty": 0.0, "discriminator_slope": 0.5}),
    ("gail-trpo", "cartpole", {"gradient_penalty": 0.0, "discriminator_slope": 0.5}),
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
def test_a_setting_that_would_change_nothing_is_refused_and_does_not(build, same, name, task, overrides, monkeypatch):
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
