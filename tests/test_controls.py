"""Bias controls: they look at no demonstration, and records of other runs do not know of them."""

import numpy as np
import pytest
import torch

from algorithms import ALGORITHMS, controls, resolve
from algorithms.gail import GAIL
from analysis.load import CONTROLS
from bench.config import RunConfig
from bench.envs import make_env
from bench.errors import UserError
from bench.seeding import Streams
from bench.tasks import TASKS
from bench.trajectory import Demonstrations

CASES = [(name, label) for name, entry in ALGORITHMS.items() for label in entry.variants if label in CONTROLS]


def demonstrations(task_name: str, seed: int) -> Demonstrations:
    """Any pairs whatever: no control is to look at them."""
    env = make_env(TASKS[task_name], 1)
    generator = np.random.default_rng(seed)
    size = env.single_observation_space.shape[0]
    n = getattr(env.single_action_space, "n", None)
    actions = generator.integers(n, size=30) if n else generator.normal(size=(30, *env.single_action_space.shape))
    zeros = np.zeros(30, dtype=np.int64)
    return Demonstrations(generator.normal(size=(30, size)), actions, zeros, zeros.copy(), {0: 0}, (), "test")


def build(name: str, label: str | None, task_name: str, seed: int = 0, **overrides: object):
    cls, config = resolve(name, task_name, "smoke", label, overrides)
    task = TASKS[task_name]
    return cls(config, task, demonstrations(task_name, seed), make_env(task, config.num_envs), Streams(1000))


def test_every_control_has_a_title_and_every_title_a_control() -> None:
    assert {label for _, label in CASES} == set(CONTROLS)
    assert {name for name, _ in CASES} == set(ALGORITHMS) - {"bc"}
    assert RunConfig("gail-trpo", "hopper", 4, 0, variant="plus").name == "gail-trpo+plus"


@pytest.mark.parametrize("task", ["cartpole", "hopper"])
@pytest.mark.parametrize(("name", "label"), CASES)
def test_no_demonstration_is_looked_at(name: str, label: str, task: str) -> None:
    one, other = build(name, label, task, seed=0), build(name, label, task, seed=1)
    before = [parameter.clone() for parameter in one.discriminator.network.parameters()]
    first = one.learner.network[0].weight.clone()
    for _ in range(2):
        one.iterate()
        other.iterate()
    for a, b in zip(one.learner.state_dict().values(), other.learner.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    for a, b in zip(before, one.discriminator.network.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first, one.learner.network[0].weight)  # it learns all the same
    assert not torch.equal(one.learner.observation_std, torch.ones_like(one.learner.observation_std))


def test_the_methods_themselves_do_look() -> None:
    """Otherwise the test above would show nothing."""
    one, other = build("gail-trpo", None, "cartpole", seed=0), build("gail-trpo", None, "cartpole", seed=1)
    one.iterate()
    other.iterate()
    assert not torch.equal(one.learner.observation_mean, other.learner.observation_mean)


@pytest.mark.parametrize(("label", "value"), [("plus", 1.0), ("minus", -1.0)])
def test_a_constant_reward_is_constant(label: str, value: float) -> None:
    learner = build("gail-trpo", label, "cartpole")
    assert isinstance(learner, GAIL)
    metrics = learner.iterate()
    assert metrics["reward"] == value
    assert "discriminator_loss" not in metrics


def test_a_default_signal_leaves_no_trace_in_records() -> None:
    for name in set(ALGORITHMS) - {"bc"}:
        cls, config = resolve(name, "cartpole")
        assert "signal" not in config.model_dump(mode="json")
        assert cls.Config(**config.model_dump()) == config
        _, control = resolve(name, "cartpole", variant="frozen")
        assert control.model_dump()["signal"] == "frozen"
        assert cls.Config(**control.model_dump()) == control


def test_every_task_has_its_controls() -> None:
    for name, entry in ALGORITHMS.items():
        for task in TASKS:
            for variant in entry.variants:
                resolve(name, task, variant=variant)


def test_what_needs_demonstrations_is_refused() -> None:
    for name, settings in (("gail-trpo", {"init": "bc"}), ("mgail-basic", {"starts": "expert"})):
        with pytest.raises(UserError, match="looks at no demonstration"):
            resolve(name, "hopper", variant="frozen", overrides=settings)
    with pytest.raises(UserError, match="would change nothing"):
        resolve("gail-trpo", "hopper", variant="plus", overrides={"reward_form": "negative"})
    with pytest.raises(UserError, match="unknown variant"):
        resolve("mgail-basic", "hopper", variant="plus")
    assert set(controls.CONSTANT) == {"plus", "minus"}
    resolve("mgail-basic", "hopper", variant="frozen", overrides={"discriminator_dropout": 0.25})  # of its cost, too
