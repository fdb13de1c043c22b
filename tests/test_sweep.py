"""Sweeps: what is searched, how trials are pruned, and that none is lost, whoever dies."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

import bench
from analysis.records import holds_finished_run, read_runs
from bench import cli
from bench.errors import UserError
from bench.lock import Lock, alive, read_owner
from bench.record import find_runs, state
from bench.sweep import Behind, Sweep, open_study
from bench.sweep_figures import importances
from bench.sweep_report import report
from bench.sweep_space import read_space
from bench.sweep_worker import heartbeat, work

pytestmark = pytest.mark.usefixtures("store")


def sweep(toy: str, out: Path, *params: str, storage: str | None = None, **settings: Any) -> Sweep:
    space = read_space(params or ("step_size=0.01:1:log",), toy, ["cartpole"], "smoke", None, settings)
    cells = (("cartpole", 1),)
    return Sweep("one", toy, cells, (1000, 1001), space, "smoke", None, settings, None, out, storage)


def never() -> bool:
    return False


def ignore(_: object) -> None:
    pass


def trials_of(one: Sweep) -> list[optuna.trial.FrozenTrial]:
    return open_study(one).get_trials()


def test_what_may_be_searched() -> None:
    tasks = ["cartpole", "acrobot"]
    params = ["temperature", "horizon", "model_width", "init", "batch_size=32/64", "gamma=0.9:1"]
    assert read_space(params, "mgail-basic", tasks, "full", None, {}) == {
        "temperature": FloatDistribution(0.1, 5, log=True),
        "horizon": IntDistribution(5, 100, log=True),
        "model_width": IntDistribution(16, 800, log=True),  # a fourth of CartPole's 64, four times Acrobot's 200
        "init": CategoricalDistribution(("random", "bc")),
        "batch_size": CategoricalDistribution((32, 64)),
        "gamma": FloatDistribution(0.9, 1),
    }


def test_a_setting_is_left_out_where_it_changes_nothing(tmp_path: Path) -> None:
    cells = (("cartpole", 1), ("hopper", 4))
    space = read_space(["temperature", "horizon"], "mgail-basic", ["cartpole", "hopper"], "full", None, {})
    one = Sweep("one", "mgail-basic", cells, (1000, 1001), space, "full", None, {"gamma": 0.98}, None, tmp_path)
    runs = one.runs(7, {"temperature": 0.712345, "horizon": 20})
    assert [(run.task, run.seed) for run in runs] == [(task, seed) for seed in (1000, 1001) for task, _ in cells]
    assert runs[0].settings == {"gamma": 0.98, "temperature": 0.7123, "horizon": 20}
    assert runs[1].settings == {"gamma": 0.98, "horizon": 20}
    assert runs[1].directory(one.folder) == tmp_path / "sweeps/one/mgail-basic+t0007/hopper/n4/seed1000"
    assert one.flags({"temperature": 0.5, "horizon": 20})["hopper"] == "--set gamma=0.98 --set horizon=20"
    assert one.tuned() == [{"temperature": 1.0, "horizon": 60}, {"temperature": 1.0, "horizon": 30}]
    with pytest.raises(UserError, match="temperature would change nothing on hopper"):
        read_space(["temperature"], "mgail-basic", ["hopper"], "full", None, {})


def pruned(best: list[float], scores: list[float]) -> bool:
    """Return whether a trial with these scores so far is pruned beside a best one with those."""
    study = optuna.create_study(direction="maximize")
    complete = optuna.create_trial(value=sum(best) / len(best), intermediate_values=dict(enumerate(best)))
    study.add_trial(complete)
    trial = optuna.create_trial(state=TrialState.RUNNING, intermediate_values=dict(enumerate(scores)))
    return Behind(len(best)).prune(study, trial)


@pytest.mark.parametrize(
    ("best", "scores", "expected"),
    [
        ([0.9] * 4, [0.5], True),  # 0.5 and three times 1 are 0.875 in the mean
        ([0.85] * 4, [0.5], False),
        ([0.85] * 4, [0.5, 0.8], True),
        ([0.6, 1.2], [0.65], False),  # 1.2 was reached there: it may be again
        ([0.6, 1.2], [0.55], True),
        ([0.95] * 6, [0.94, 0.94, 0.94], False),  # three pairs cannot decide
        ([0.95] * 6, [0.94, 0.94, 0.94, 0.94], True),  # four can: p = 1/16
        ([0.95] * 6, [0.94, 0.94, 0.94, 0.97], False),
        ([0.5] * 6, [0.6, 0.7, 0.8, 0.9], False),
    ],
)
def test_a_trial_is_pruned_when_it_cannot_catch_up_or_lies_behind(
    best: list[float], scores: list[float], expected: bool
) -> None:
    assert pruned(best, scores) is expected


def test_nothing_is_pruned_before_a_trial_is_complete() -> None:
    study = optuna.create_study(direction="maximize")
    trial = optuna.create_trial(state=TrialState.RUNNING, intermediate_values={0: -5.0})
    assert not Behind(4).prune(study, trial)


def test_what_matters_shows_in_pruned_trials_too() -> None:
    space = {"matters": FloatDistribution(0, 1), "idle": FloatDistribution(0, 1)}
    draws = np.random.default_rng(0).uniform(size=(40, 2))
    trials = [
        optuna.create_trial(
            state=TrialState.COMPLETE if number < 2 else TrialState.PRUNED,
            params={"matters": x, "idle": y},
            distributions=space,
            value=x,
        )
        for number, (x, y) in enumerate(draws.tolist())
    ]
    found = importances(trials)
    assert found["matters"] > 0.8
    assert sum(found.values()) == pytest.approx(1)
    assert importances(trials[:3]) == {}


def test_a_sweep_from_the_command_line_and_more_of_it(
    toy: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["sweep", "--algorithm", toy, "--tasks", "cartpole,acrobot", "--params", "step_size,num_envs=1/2"]
    command += ["--seeds", "2", "--preset", "smoke", "--workers", "1", "--out", str(tmp_path / "runs")]
    assert cli.main([*command, "--trials", "4"]) == 0
    folder = tmp_path / "runs/sweeps/Toy-cartpole+acrobot-step_size+num_envs"
    first = capfd.readouterr().out.splitlines()
    assert first[0].startswith("4 trials: ")
    with (folder / "trials.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 4
    assert (float(rows[0]["step_size"]), rows[0]["num_envs"]) == (0.1, "2")  # what is tuned comes first
    complete = [row for row in rows if row["state"] == "complete"]
    for row in complete:
        run = f"Toy+t{int(row['trial']):04d}"
        scores = bench.load(folder / run).groupby(["task", "seed"]).first()
        assert len(scores) == 4
        score = [float(row[f"{task} n1 seed{seed}"]) for task, seed in scores.index]
        assert float(row["score"]) == pytest.approx(sum(score) / 4)
    best = max(complete, key=lambda row: float(row["score"]))
    assert f"--set step_size={best['step_size']} --set num_envs={best['num_envs']}" in first
    for name in ("history.png", "contour.png", "importance.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    assert find_runs([tmp_path / "runs"]) == []  # no table's
    assert not holds_finished_run(tmp_path / "runs")
    with pytest.raises(UserError, match="no finished run"):
        read_runs([tmp_path / "runs"])
    assert len(find_runs([folder])) >= 4 * len(complete)

    assert cli.main([*command, "--trials", "4"]) == 0  # nothing to do
    assert capfd.readouterr().out.splitlines() == first
    assert cli.main([*command, "--trials", "5"]) == 0
    assert capfd.readouterr().out.startswith("5 trials: ")
    assert cli.main([*command[:-4], "--out", str(tmp_path / "runs"), "--seeds", "3"]) == 2
    assert "is there with other seeds" in capfd.readouterr().err


@pytest.mark.parametrize("database", [False, True])
def test_a_stopped_trial_goes_on_as_itself(toy: str, tmp_path: Path, database: bool) -> None:
    storage = f"sqlite:///{tmp_path / 'sweeps.db'}" if database else None
    one = sweep(toy, tmp_path / "a", storage=storage)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 20

    work(one, 3, stop, ignore)
    stopped = trials_of(one)[-1]
    assert stopped.state == TrialState.WAITING
    assert any(state(run.directory(one.folder)) == "cut short" for run in one.runs(stopped.number, stopped.params))
    work(one, 3, never, ignore)
    again = trials_of(one)
    assert [trial.number for trial in again] == [0, 1, 2]
    assert all(trial.state.is_finished() for trial in again)
    assert again[stopped.number].params == stopped.params

    whole = replace(one, out=tmp_path / "b", storage=None)
    work(whole, 3, never, ignore)
    assert [(t.params, t.values) for t in trials_of(whole)] == [(t.params, t.values) for t in again]


def test_the_trial_of_a_dead_worker_is_done_again_and_that_of_a_living_one_is_not(toy: str, tmp_path: Path) -> None:
    one = sweep(toy, tmp_path)
    study = open_study(one)
    dead, living = study.ask(one.space), study.ask(one.space)
    seen: list[list[TrialState]] = []
    with Lock(heartbeat(one, living.number), "a living worker's trial"):

        def stop() -> bool:
            states = [trial.state for trial in study.get_trials()]
            seen.append(states)
            return all(states[number].is_finished() for number in (0, 2, 3)) if len(states) == 4 else False

        work(one, 4, stop, ignore)
        assert {states[living.number] for states in seen} == {TrialState.RUNNING}
        assert all(len(states) <= 4 for states in seen)
    work(one, 4, never, ignore)
    trials = trials_of(one)
    assert len(trials) == 4
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    assert [trials[n].params for n in (0, 1)] == [dead.params, living.params]


def test_a_trial_whose_run_is_somebody_elses_comes_back_with_its_lock_given_up(
    toy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes it from the queue would be refused otherwise, and end."""
    one = sweep(toy, tmp_path)
    slept: list[TrialState] = []
    monkeypatch.setattr("bench.sweep_worker.POLL_S", 0.0)

    def sleep(seconds: float) -> None:
        if seconds == 0.0:
            slept.append(trials_of(one)[0].state)

    monkeypatch.setattr(time, "sleep", sleep)
    values = one.tuned()[0]
    with contextlib.ExitStack() as stack:
        for run in one.runs(0, values):
            stack.enter_context(Lock(run.directory(one.folder) / "heartbeat", "a run"))
        work(one, 1, lambda: bool(slept), ignore)
    (trial,) = trials_of(one)
    assert (slept, trial.state) == ([TrialState.RUNNING], TrialState.WAITING)
    assert not alive(heartbeat(one, 0))
    work(one, 1, never, ignore)
    assert trials_of(one)[0].state == TrialState.COMPLETE


def test_a_trial_killed_while_it_was_pruned_is_worth_the_mean_of_its_runs(toy: str, tmp_path: Path) -> None:
    one = sweep(toy, tmp_path)
    study = open_study(one)
    trial = study.ask(one.space)
    trial.report(99.0, 2)  # the step beyond its two runs
    work(one, 1, never, ignore)
    (found,) = trials_of(one)
    scores = [found.intermediate_values[step] for step in range(2)]
    assert found.value == pytest.approx(sum(scores) / 2)


def test_half_a_line_at_the_journals_end_costs_nothing_else(toy: str, tmp_path: Path) -> None:
    one = sweep(toy, tmp_path)
    work(one, 1, never, ignore)
    with (one.folder / "journal.log").open("a") as stream:
        stream.write('{"op_code":4,"worker')
    work(one, 2, never, ignore)
    assert [trial.state.is_finished() for trial in trials_of(one)] == [True, True]


def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(toy: str, tmp_path: Path) -> None:
    for content in (b"line one\nlast line", b"SQLite format 3\x00\n\x01"):
        (tmp_path / "notes").write_bytes(content)
        with pytest.raises(UserError, match="notes is no journal of a sweep; a database is named as sqlite:///"):
            work(replace(sweep(toy, tmp_path), storage=str(tmp_path / "notes")), 1, never, ignore)
        assert (tmp_path / "notes").read_bytes() == content


def test_a_setting_that_breaks_the_method_is_pruned_with_the_reason(
    toy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = sweep(toy, tmp_path, "crash_at=-1/1")
    work(one, 6, never, ignore)
    trials = trials_of(one)
    for trial in trials:
        if trial.params["crash_at"] == 1:
            assert trial.state == TrialState.PRUNED
            assert trial.user_attrs["broke"] == "ZeroDivisionError: the toy crashed"
        else:
            assert trial.state == TrialState.COMPLETE
    broke = sum(trial.params["crash_at"] == 1 for trial in trials)
    assert 0 < broke < 6
    assert report(one, open_study(one)) == 6
    assert f"{broke} broke off" in capsys.readouterr().out


def test_a_sweep_in_which_everything_breaks_ends(toy: str, tmp_path: Path) -> None:
    one = sweep(toy, tmp_path, crash_at=1)
    with pytest.raises(UserError, match="all of 3 trials broke off; the last: ZeroDivisionError: the toy crashed"):
        work(one, 9, never, ignore)
    assert len(trials_of(one)) == 3


def test_four_workers_of_which_two_are_killed_finish_every_trial(toy: str, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    command = [sys.executable, "-m", "bench.cli", "sweep", "--algorithm", toy, "--tasks", "cartpole", "--seeds", "2"]
    command += ["--params", "step_size=0.01:1:log", "--set", "iterations=30", "--set", "sleep=0.1", "--name", "one"]
    command += ["--preset", "smoke", "--trials", "7", "--workers", "4", "--out", str(out)]
    one = sweep(toy, out, iterations=30, sleep=0.1)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while len(list(one.folder.glob("Toy+*/cartpole/n1/*/heartbeat"))) < 4:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        at_work = {trial.number: trial.params for trial in trials_of(one) if trial.state == TrialState.RUNNING}
        killed = sorted(at_work)[1:3]
        for number in killed:
            os.kill(read_owner(heartbeat(one, number))["pid"], signal.SIGKILL)
        output, errors = process.communicate(timeout=180)
    assert process.returncode == 0, errors
    assert output.startswith("7 trials: ")
    assert errors.count("a worker died (exit code -9)") == 2
    trials = trials_of(one)
    assert len(trials) == 7
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    for number in killed:
        assert trials[number].params == at_work[number]
        assert "broke" not in trials[number].user_attrs
