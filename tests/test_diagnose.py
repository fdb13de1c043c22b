"""`bench diagnose`: errors of forward models and gradients, against what is known exactly."""

import json

import numpy as np
import pytest
import torch

from algorithms import mgail_tuned, resolve
from algorithms.forward_models import ForwardModel
from algorithms.gradient_quality import (
    ExactHead,
    KnownJacobians,
    by_recursion,
    by_score,
    compare,
    costs_from,
    jacobians,
    play,
    starts_of,
)
from algorithms.model_errors import act, open_loop
from bench.cli import main
from bench.envs import make_env
from bench.seeding import Streams
from bench.tasks import TASKS
from bench.trajectory import Demonstrations

HORIZON, STATES = 4, 3


@pytest.fixture(scope="module")
def learner():
    """MGAIL on Hopper after its warm-up, with demonstrations of a simple rule."""
    task = TASKS["hopper"]
    cls, config = resolve("mgail-advanced", "hopper", "smoke", overrides={"burn_in": 3})
    env = make_env(task, 1)
    observation, _ = env.reset(seed=5)
    observations, actions = [], []
    for t in range(40):
        observations.append(observation[0])
        actions.append(np.sin(t + np.arange(3)).astype(np.float32))
        observation = env.step(actions[-1][None])[0]
    zeros = np.zeros(40, dtype=np.int64)
    pairs = Demonstrations(np.stack(observations), np.stack(actions), zeros, zeros.copy(), {0: 0}, (), "test")
    algorithm = cls(config, task, pairs, make_env(task, config.num_envs), Streams(1000))
    algorithm.iterate()
    return algorithm


def hopper(rows):
    return make_env(TASKS["hopper"], rows)


def test_the_simulators_gradient_is_that_of_the_cost(learner):
    """Against differences of J itself: the policy's weights moved, the same noise, the true simulator."""
    env, lab = hopper(STATES), hopper(100)
    lab.reset(seed=0)
    starts, past = starts_of(learner, env, seed=1, steps=20)
    assert [part.shape[:2] for part in past] == [(3, STATES)] * 3
    noise = torch.randn(HORIZON, STATES, 3, generator=torch.Generator().manual_seed(2))
    batch = play(learner, env, starts, past, noise)
    head = learner.walk.head
    exact = ExactHead(head.sigma, head.low, head.high)
    found = by_recursion(learner, batch, HORIZON, KnownJacobians(jacobians(learner, lab, batch)), exact)

    parameters = list(learner.learner.network.parameters())
    kept = [parameter.detach().clone() for parameter in parameters]
    direction = found / found.norm()
    costs = []
    for step in (1e-3, -1e-3):
        parts = torch.split(step * direction, [part.numel() for part in kept])
        with torch.no_grad():
            for parameter, before, part in zip(parameters, kept, parts, strict=True):
                parameter.copy_(before + part.view_as(before))
        costs.append(costs_from(learner, play(learner, env, starts, past, noise)).sum(0).mean().item())
    with torch.no_grad():
        for parameter, before in zip(parameters, kept, strict=True):
            parameter.copy_(before)
    assert found.norm() > 1e-2
    assert (costs[0] - costs[1]) / 2e-3 == pytest.approx(found.norm().item(), rel=0.03)


def test_the_score_functions_mean_is_the_gradient_too(learner):
    """One step ahead nothing depends on the dynamics: with many draws both means agree."""
    env = hopper(STATES)
    starts, past = starts_of(learner, env, seed=1, steps=20)
    generator = torch.Generator().manual_seed(3)
    head = learner.walk.head
    wide = ExactHead(head.sigma, head.low - 100, head.high + 100)
    learner.walk.head = wide  # no clipping, behind which a score function sees the whole cost and the other its slope
    try:
        batches = [play(learner, env, starts, past, torch.randn(1, STATES, 3, generator=generator)) for _ in range(400)]
        costs = torch.stack([costs_from(learner, batch) for batch in batches])
        others = (costs.sum(0) - costs) / 399
        scores = [by_score(learner, batch, 1, costs[i], others[i]) for i, batch in enumerate(batches)]
        slopes = [by_recursion(learner, batch, 1, learner.model, wide) for batch in batches]
    finally:
        learner.walk.head = head
    score, slope = torch.stack(scores).mean(0), torch.stack(slopes).mean(0)
    assert torch.cosine_similarity(score, slope, 0) > 0.95
    assert score.norm().item() == pytest.approx(slope.norm().item(), rel=0.2)


def test_the_comparison_has_a_row_for_every_horizon_and_estimator(learner):
    before = [parameter.detach().clone() for parameter in learner.learner.network.parameters()]
    rows = compare(learner, hopper, [1, 3], states=2, draws=3, seed=0)
    assert [(row["horizon"], row["estimator"]) for row in rows] == [
        (horizon, name) for horizon in (1, 3) for name in ("simulator", "mgail", "reinforce")
    ]
    for row in rows:
        assert -1 <= row["cosine"] <= 1
        assert row["variance"] > 0
        assert row["cosine_mean"] == pytest.approx(1) or row["estimator"] != "simulator"
    one, mgail = rows[:2]
    assert mgail["cosine_mean"] > 0.9  # one step: no model in it; clipped actions apart
    assert one["norm"] == pytest.approx(one["reference_norm"])
    for parameter, kept in zip(learner.learner.network.parameters(), before, strict=True):
        assert torch.equal(parameter, kept)


class Drift(ForwardModel):
    """Says that every state moves by the same."""

    memory_size = 0

    def __init__(self, by):
        super().__init__()
        self.by = by

    def forward(self, x, u, memory):
        return torch.full_like(x, self.by), memory


def test_open_loop_errors_by_hand(learner):
    """States that move by 0.5 a step: off by 0.1 after one step, by 0.3 after three; nothing beyond an end counts."""
    segment = act(learner, hopper(2), 12, seed=0).segments(6, 4, 24, 3)
    states = 0.5 * torch.arange(4.0)[:, None, None].expand_as(segment.states)
    done = torch.zeros_like(segment.done)
    done[1, 0] = 1
    fields = vars(segment) | {"states": states, "next_states": states + 0.5, "done": done}
    one, three = open_loop(Drift(0.4), type(segment)(**fields), [1, 3])
    assert (one["k"], one["n"], three["k"], three["n"]) == (1, 6, 3, 5)
    assert (one["rms"], one["median"], one["rms_persistence"]) == pytest.approx((0.1, 0.1, 0.5))
    assert (three["rms"], three["unexplained"]) == pytest.approx((0.3, 0.04), rel=1e-5)
    assert open_loop(Drift(0.5), type(segment)(**fields), [3])[0]["rms"] == pytest.approx(0, abs=1e-6)


@pytest.mark.usefixtures("store")
def test_the_command_trains_measures_and_writes(tmp_path, capsys):
    command = ["diagnose", "model", "--task", "cartpole", "--passes", "2", "--ahead", "1,4", "--steps", "1000"]
    settings = ["--set", "warmup_steps=1280", "--set", "horizon=5", "--out", str(tmp_path / "out")]
    assert main([*command, *settings]) == 0
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"model.json", "model.png", "model.pdf"}
    content = json.loads((tmp_path / "out" / "model.json").read_text())
    assert [subject["name"] for subject in content["subjects"]] == ["mgail-basic", "mgail-advanced"]
    for subject in content["subjects"]:
        assert [row["k"] for row in subject["rows"]] == [1, 4]
        assert subject["passes"] == 2
    assert "mgail-advanced" in capsys.readouterr().out


@pytest.mark.usefixtures("store")
def test_a_runs_training_is_done_again(tmp_path):
    """A finished run keeps its policy only: its model is trained again, and is the same as one trained alike."""
    one = ["--task", "cartpole", "--trajectories", "1", "--seed", "1000", "--set", "horizon=5"]
    run = ["run", *one, "--algorithms", "mgail-basic", "--preset", "smoke", "--out", str(tmp_path / "runs")]
    assert main(run) == 0
    folder = tmp_path / "runs" / "mgail-basic" / "cartpole" / "n1" / "seed1000"
    smoke = [f"--set={key}={value}" for key, value in mgail_tuned.SMOKE.items() if key != "horizon"]
    for subject, out in (([str(folder)], "a"), ([*one, *smoke, "--algorithms", "mgail-basic"], "b")):
        command = ["diagnose", "model", *subject, "--seed", "1000", "--ahead", "1", "--steps", "800"]
        assert main([*command, "--out", str(tmp_path / out)]) == 0
    (again,), (alike,) = (json.loads((tmp_path / out / "model.json").read_text())["subjects"] for out in ("a", "b"))
    assert again["name"] == "mgail-basic/cartpole/n1/seed1000"
    assert (again["rows"], again["env_steps"]) == (alike["rows"], alike["env_steps"])


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["model"], "name folders of runs, or --task"),
        (["model", "--task", "cartpole", "--algorithms", "bc"], "bc is not MGAIL"),
        (["gradient", "--task", "cartpole"], "continuous actions"),
        (["gradient", "--task", "hopper", "--draws", "1"], "a variance needs two"),
        (["model", "--task", "cartpole", "--ahead", "0"], "at least one step"),
        (["model", "--task", "cartpole", "--steps", "1855"], "50 steps ahead need 1856 or more"),  # 58 of 32 rows
    ],
    ids=str,
)
def test_what_cannot_be_measured_is_one_line(arguments, message, capsys):
    assert main(["diagnose", *arguments]) == 2
    assert message in capsys.readouterr().err
