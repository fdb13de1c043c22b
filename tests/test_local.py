"""The local executor: real worker processes on small runs."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.config import RunConfig
from bench.files import read_json
from bench.record import RunRecord, state
from slurm.local import execute

pytestmark = pytest.mark.usefixtures("store")


def config(toy: str, seed: int = 0, **settings: Any) -> RunConfig:
    return RunConfig(toy, "cartpole", 1, seed, preset="smoke", settings=settings)


def test_runs_are_spread_over_workers_and_one_failing_does_not_stop_the_others(toy: str, tmp_path: Path) -> None:
    configs = [config(toy, 0), config(toy, 1, crash_at=2), config(toy, 2, kill_at=2), config(toy, 3), config(toy, 4)]
    summary = execute(configs, tmp_path, workers=2)
    ended = {one.seed: end for one, end in summary.ended}
    assert {seed: end.status for seed, end in ended.items()} == {
        0: "finished",
        1: "failed",
        2: "failed",
        3: "finished",
        4: "finished",
    }
    assert ended[1].message == "ZeroDivisionError: the toy crashed"
    assert "ZeroDivisionError" in (configs[1].directory(tmp_path) / "error.txt").read_text()
    assert "exit code -9" in (configs[2].directory(tmp_path) / "error.txt").read_text()
    assert sorted(bench.load(tmp_path).seed.unique()) == [0, 3, 4]
    assert summary.signal is None

    again = execute([configs[0], configs[3]], tmp_path, workers=1)
    assert [end.status for _, end in again.ended] == ["skipped", "skipped"]


def test_a_run_in_use_is_left_to_its_owner(toy: str, tmp_path: Path) -> None:
    one = config(toy)
    with RunRecord(one.directory(tmp_path), {"algorithm": "Toy"}):
        (one.directory(tmp_path) / "config.json").unlink()
        summary = execute([one], tmp_path, workers=1)
    assert [end.status for _, end in summary.ended] == ["busy"]


GRID = """
import sys
from pathlib import Path
from bench.config import RunConfig
from slurm.local import execute

if __name__ == "__main__":
    settings = {"iterations": 2000, "sleep": 0.01}
    configs = [RunConfig(sys.argv[1], "cartpole", 1, seed, preset="smoke", settings=settings) for seed in range(3)]
    summary = execute(configs, Path(sys.argv[2]), workers=2)
    print([end.status for _, end in summary.ended], summary.signal)
"""


def started(toy: str, tmp_path: Path) -> "subprocess.Popen[str]":
    """Start a grid of three long runs on two workers and wait until two of them are on their way."""
    script = tmp_path / "grid.py"
    script.write_text(GRID)
    command = [sys.executable, str(script), toy, str(tmp_path / "runs")]
    grid = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while sum(path.stat().st_size > 0 for path in tmp_path.glob("runs/Toy/cartpole/n1/*/progress.csv")) < 2:
        assert grid.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return grid


def test_a_stop_leaves_checkpoints(toy: str, tmp_path: Path) -> None:
    with started(toy, tmp_path) as grid:
        grid.send_signal(signal.SIGINT)
        output, errors = grid.communicate(timeout=60)
    assert output == f"['stopped', 'stopped'] {int(signal.SIGINT)}\n", errors
    assert "stopping" in errors
    runs = [tmp_path / f"runs/Toy/cartpole/n1/seed{seed}" for seed in range(3)]
    assert [state(run) for run in runs] == ["cut short", "cut short", "missing"]
    assert all((run / "checkpoint.pt").exists() for run in runs[:2])


def test_workers_do_not_outlive_a_killed_parent(toy: str, tmp_path: Path) -> None:
    with started(toy, tmp_path) as grid:
        os.kill(grid.pid, signal.SIGKILL)
        grid.communicate()
    runs = [tmp_path / f"runs/Toy/cartpole/n1/seed{seed}" for seed in range(2)]
    deadline = time.monotonic() + 30
    while any((run / "heartbeat").exists() for run in runs):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert all((run / "checkpoint.pt").exists() for run in runs)
    RunRecord(runs[0], read_json(runs[0] / "config.json")).close()  # nobody owns it


def test_a_disk_that_takes_no_more_stops_the_grid(toy: str, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file, below which nothing can be written")
    summary = execute([config(toy, seed) for seed in range(9)], tmp_path / "runs", workers=1)
    assert summary.unwritable is not None
    assert summary.unwritable.startswith(f"cannot write {tmp_path / 'runs'}")
    assert [end.status for _, end in summary.ended] == ["unwritable"]
