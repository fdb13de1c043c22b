"""What a grid will cost and whether it may be run, told before the first run is begun."""

import json
from pathlib import Path

import pytest

from bench import loop, progress
from bench.config import RunConfig
from bench.errors import UserError
from bench.files import write_json
from bench.tasks import get_task
from datasets.demonstrations import make_demonstrations
from slurm import forecast
from slurm.grid import cost
from slurm.plan import plan, prepare

RUNS = "algorithm,task,core_s,iterations\nbc,cartpole,10,5\nbc,cartpole,40,10\nbc,cartpole,30,10\nbc,acrobot,6,1\n"


def a_run(out: Path, core_s: float, iterations: int, final: int = 50, seed: int = 0, text: str | None = None) -> None:
    directory = RunConfig("bc", "cartpole", 1, seed).directory(out)
    directory.mkdir(parents=True)
    config = {"algorithm": "bc", "label": None, "task": "cartpole", "protocol": {"final": final}}
    write_json(directory / "config.json", config)
    write_json(directory / "result.json", {"core_s": core_s, "iterations": iterations})
    if text is not None:
        (directory / "result.json").write_text(text)


def test_speed_is_the_median_of_own_runs_else_of_published_ones(tmp_path: Path) -> None:
    published = tmp_path / "runs.csv"
    published.write_text(RUNS)
    assert forecast.measured(tmp_path / "none", published) == {("bc", "cartpole"): 3.0, ("bc", "acrobot"): 6.0}
    out = tmp_path / "runs"
    a_run(out, core_s=100, iterations=10)
    a_run(out, core_s=1, iterations=10, final=5, seed=1)  # a smoke run
    a_run(out, core_s=1, iterations=10, seed=2, text="{")  # a damaged one
    assert forecast.measured(out, published) == {("bc", "cartpole"): 10.0, ("bc", "acrobot"): 6.0}


def test_forecast_goes_by_iterations_and_a_label_by_its_method() -> None:
    speed = {("bc", "cartpole"): 3.0}
    assert forecast.seconds(RunConfig("bc", "cartpole", 4, 7), 20, speed) == 60.0
    assert forecast.seconds(RunConfig("bc", "cartpole", 4, 7, label="x"), 20, speed) == 60.0
    assert forecast.seconds(RunConfig("bc", "acrobot", 4, 7), 20, speed) is None


def test_what_has_no_forecast_is_guessed_on_the_scale_of_what_has() -> None:
    known, other = RunConfig("mgail-basic", "cartpole", 1, 0), RunConfig("mgail-advanced", "hopper", 4, 0)
    assert forecast.estimates([(known, 50.0), (other, None)]) == [50.0, 50.0 * cost(other) / cost(known)]
    assert forecast.estimates([(other, None)]) == [cost(other)]
    assert forecast.estimates([]) == []


def test_makespan_is_that_of_workers_that_take_the_next_run_when_free() -> None:
    assert forecast.makespan([3, 2, 2, 1], 2) == 4
    assert forecast.makespan([], 2) == 0


@pytest.mark.usefixtures("store")
def test_a_grid_is_refused_before_it_begins(toy: str, tmp_path: Path) -> None:
    configs = [RunConfig(toy, "cartpole", 1, seed, preset="smoke") for seed in range(3)]
    for config in configs[:2]:
        loop.run(config, tmp_path)
    planned = plan(configs, tmp_path)
    assert [(one.config.seed, one.state) for one in planned] == [(0, "finished"), (1, "finished"), (2, "missing")]
    prepare(planned, tmp_path)

    other = [RunConfig(toy, "cartpole", 1, seed, preset="smoke", settings={"iterations": 9}) for seed in range(3)]
    with pytest.raises(UserError, match=r"2 of 3 runs are refused; the first: .*iterations is 8 there, 9 here"):
        plan(other, tmp_path)

    path = configs[1].directory(tmp_path) / "config.json"
    content = json.loads(path.read_text())
    content["demonstrations"]["digest"] = "another"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"seed1 holds a run on other demonstrations"):
        prepare(plan(configs, tmp_path), tmp_path)


def test_runs_on_either_part_of_an_extended_store_are_taken_up_together(toy: str, tmp_path: Path, monkeypatch) -> None:
    """What every store holds has a digest of its own, so that extending a store does not refuse the runs before."""
    monkeypatch.setenv("MGAIL_BENCH_DATA", str(tmp_path / "demonstrations"))
    task, out = get_task("cartpole"), tmp_path / "runs"
    make_demonstrations(task, task.stored + 1, show=False)
    configs = [RunConfig(toy, "cartpole", size, 0, preset="smoke") for size in (1, task.stored + 1)]
    for config in configs:
        loop.run(config, out)
    prepare(plan(configs, out), out)


def test_making_demonstrations_for_a_grid_shows_how_it_goes(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("MGAIL_BENCH_DATA", str(tmp_path / "demonstrations"))
    monkeypatch.setattr(progress, "CALM_S", 0.0)
    planned = plan([RunConfig("bc", "cartpole", 1, 0)], tmp_path)
    prepare(planned, tmp_path)
    assert "demonstrations of cartpole: " in capsys.readouterr().err
    prepare(planned, tmp_path)
    assert capsys.readouterr().err == ""
