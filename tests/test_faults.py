"""A grid that is killed at random moments, again and again, ends as one that never was.

Few kills by default; MGAIL_BENCH_KILLS=50 makes it fifty, over twenty runs.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.lock import alive
from bench.record import find_runs
from slurm import grid

pytestmark = pytest.mark.usefixtures("store")

KILLS = int(os.environ.get("MGAIL_BENCH_KILLS", "4"))
SEEDS, ITERATIONS = (4, 100) if KILLS > 20 else (1, 40)
COMMAND = [
    *(sys.executable, "-m", "bench.cli", "run", "--task", "cartpole", "--algorithms", ",".join(grid.ALGORITHMS)),
    *("--trajectories", "1", "--seeds", str(SEEDS), "--preset", "smoke", "--set", f"iterations={ITERATIONS}"),
    *("--workers", "2", "--out"),
]


def start(out: Path) -> "subprocess.Popen[str]":
    """Start the grid, or go on with it, in a process group of its own."""
    environment = os.environ | {"MGAIL_BENCH_CHECKPOINT_S": "0.1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([*COMMAND, str(out)], env=environment, start_new_session=True, **pipes)  # type: ignore[call-overload]


def members(group: int) -> dict[int, int]:
    """Return {process: parent} of a process group."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, its_group = path.read_text().rpartition(") ")[2].split()[:3]
            if int(its_group) == group and state != "Z":
                found[int(path.parent.name)] = int(parent)
    return found


def kill_workers(process: "subprocess.Popen[str]", most: int, rng: random.Random) -> int:
    """Kill workers, one after the other, and return how many; the grid goes on without the runs that they had."""
    killed = 0
    for _ in range(rng.randint(0, most)):
        workers = [pid for pid, parent in members(process.pid).items() if process.pid not in (pid, parent)]
        if not workers or process.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(workers), signal.SIGKILL)
            killed += 1
        time.sleep(rng.uniform(0, 1))
    return killed


def kill(process: "subprocess.Popen[str]", how: str, rng: random.Random) -> None:
    """Kill a grid: all of it, its head alone, or after having asked it to stop."""
    if how.startswith("asked"):
        process.terminate()
        time.sleep(rng.uniform(0, 0.5))
    if how == "its head":
        process.kill()
    elif how != "asked":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def moment(process: "subprocess.Popen[str]", out: Path, rng: random.Random) -> None:
    """Wait for a random moment: while the grid is starting, or once runs are at work."""
    if rng.random() < 0.75:
        while not any(map(alive, out.glob("*/*/*/*/heartbeat"))) and process.poll() is None:
            time.sleep(0.01)
    time.sleep(rng.uniform(0, 1.5))


def test_a_grid_killed_at_random_moments_ends_as_one_never_killed(
    tmp_path: Path, what_must_agree: Callable[[Path], dict[str, Any]]
) -> None:
    rng = random.Random(KILLS)
    out, whole = tmp_path / "killed", tmp_path / "whole"
    ended: dict[Path, tuple[int, int]] = {}
    killed = 0
    while killed < KILLS:
        with start(out) as process:
            moment(process, out, rng)
            assert process.poll() is None, f"it ended after {killed} kills: {process.communicate()[0]}"
            killed += 1 + kill_workers(process, min(6, KILLS // 4), rng)
            kill(process, rng.choice(["all", "its head", "asked", "asked and killed"]), rng)
        for path in out.glob("*/*/*/*/result.json"):
            known = (path.stat().st_ino, path.stat().st_mtime_ns)
            assert ended.setdefault(path, known) == known, f"{path} was run twice to its end"
        while rng.random() < 0.5 and members(
            process.pid
        ):  # what outlives its head, writing checkpoints, meets the next
            time.sleep(0.05)
    while members(process.pid):
        time.sleep(0.05)
    with start(out) as process:
        assert "failed" not in process.communicate()[0]
        assert process.returncode == 0
    for path, known in ended.items():
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == known
    with start(whole) as process:
        process.communicate()
    runs = [run.relative_to(whole) for run in find_runs([whole])]
    assert len(runs) == SEEDS * len(grid.ALGORITHMS)
    for run in runs:
        assert what_must_agree(out / run) == what_must_agree(whole / run), run
    assert sorted(path.name for path in out.iterdir()) == sorted(grid.ALGORITHMS)
