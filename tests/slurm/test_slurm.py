"""Grids on a real SLURM: what is launched ends, once, with the numbers of a run that nothing disturbed."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import cli, loop
from bench.config import RunConfig
from slurm.launches import queue, read_launches
from slurm.status import survey

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("store", "cluster")]

CLUSTER = Path(__file__).parent / "cluster.py"
WAIT_S = 400.0  # for a loaded machine; a test ends as soon as it can
Essence = Callable[[Path], dict[str, Any]]


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of all runs; jobs that a failing test leaves behind are cancelled."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MGAIL_BENCH_CHECKPOINT_S", "0.5")
    yield Path("runs")
    for launch in read_launches(Path("runs")):
        subprocess.run(["scancel", "--name", launch.name], check=False)


def grid(toy: str, *seeds: int, preset: str = "smoke", **settings: Any) -> list[RunConfig]:
    return [RunConfig(toy, "cartpole", 1, seed, preset=preset, settings=settings) for seed in seeds]


def launch(configs: list[RunConfig], *more: str) -> list[str]:
    """Return the arguments that launch a grid of runs that differ in nothing but their seeds."""
    first = configs[0]
    seeds = ",".join(str(config.seed) for config in configs) + ","
    settings = [word for key, value in first.settings.items() for word in ("--set", f"{key}={value}")]
    what = ["--task", first.task, "--algorithm", first.algorithm, "--trajectories", "1", "--preset", first.preset]
    how = ["--executor", "slurm", "--cores", "2", "--time", "30", *more]
    return ["run", *what, "--seeds", seeds, *settings, *how]


def states(out: Path) -> dict[int, str]:
    return {one.seed: one.state for one in survey(out).runs}


def until(what: str, done: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, f"{what}: {squeue()}{sinfo('--list-reasons')}{sinfo('--Node', '--long')}"
        time.sleep(0.2)


def squeue(*arguments: str) -> str:
    return subprocess.run(["squeue", *arguments], capture_output=True, text=True, check=True).stdout


def sinfo(*arguments: str) -> str:
    return subprocess.run(["sinfo", *arguments], capture_output=True, text=True, check=True).stdout


def iteration(out: Path, config: RunConfig) -> int:
    """Return how far a run has come by its table."""
    with contextlib.suppress(OSError):
        return len((config.directory(out) / "progress.csv").read_text().splitlines())
    return 0


def over(out: Path) -> bool:
    return not any((queue(read_launches(out)) or {}).values())


def check_undisturbed(configs: list[RunConfig], out: Path, tmp_path: Path, what_must_agree: Essence) -> None:
    """Compare runs with what they would have been here, in one go."""
    for config in configs:
        loop.run(config, tmp_path / "whole")
        there, here = config.directory(out), config.directory(tmp_path / "whole")
        assert what_must_agree(there) == what_must_agree(here)


def test_a_grid_launched_twice_at_once_is_done_once(toy: str, out: Path, capfd) -> None:
    """Five runs, of which each fails, in an array of three jobs, two at a time; what failed can be taken up again."""
    configs = grid(toy, *range(5), preset="quick", crash_at=3)  # no forecast, hence one run for each core of a job
    command = launch(configs, "--max-parallel", "2", "--slurm", "mem=100M")
    many = [subprocess.Popen([sys.executable, "-m", "bench.cli", *command], stdout=subprocess.PIPE) for _ in range(2)]
    late, early = sorted(process.communicate()[0].decode().splitlines()[0] for process in many)
    assert early == "5 runs: 5 submitted"
    assert late.endswith("; nothing was submitted")
    (made,) = read_launches(out)
    assert [len(job) for job in made.jobs] == [2, 2, 1]
    until("the grid ends", lambda: over(out))
    found = survey(out)
    assert found.counts() == {"failed": 5}
    assert found.runs[0].error == "ZeroDivisionError: the toy crashed"
    capfd.readouterr()
    assert cli.main([*launch(configs, "--only", "missing")]) == 0
    assert capfd.readouterr().out == "0 runs: nothing to do; nothing was submitted\n"
    assert cli.main([*launch(configs, "--only", "failed", "--dry-run")]) == 0
    assert "5 runs: 5 to submit" in capfd.readouterr().out


def test_what_is_cancelled_while_it_waits_never_ran_and_is_launched_again(toy: str, out: Path, capfd) -> None:
    configs = grid(toy, 0, 1, iterations=2000, sleep=0.1)
    assert cli.main(launch(configs, "--cores", "1", "--max-parallel", "1", "--slurm", "hold=true")) == 0
    assert states(out) == {0: "waiting", 1: "waiting"}
    capfd.readouterr()
    assert cli.main(launch(configs, "--cores", "1")) == 0
    assert capfd.readouterr().out == "2 runs: 2 in the queue; nothing was submitted\n"
    (before,) = read_launches(out)
    subprocess.run(["scancel", "--name", before.name], check=True)
    until("the queue forgets", lambda: over(out))
    assert states(out) == {0: "never ran", 1: "never ran"}
    assert cli.main(launch(configs, "--cores", "1", "--slurm", "hold=true")) == 0
    assert capfd.readouterr().out.startswith("2 runs: 2 submitted\n")


def test_a_run_that_is_cancelled_stops_with_a_checkpoint(
    toy: str, out: Path, tmp_path: Path, what_must_agree: Essence
) -> None:
    configs = grid(toy, 0, iterations=100, sleep=0.05)
    assert cli.main(launch(configs)) == 0
    until("the run is on its way", lambda: iteration(out, configs[0]) > 3)
    assert states(out) == {0: "running"}
    subprocess.run(["scancel", "--name", read_launches(out)[0].name], check=True)
    until("the job ends", lambda: over(out))
    assert states(out) == {0: "stopped"}
    assert cli.main(launch(configs)) == 0
    until("the run ends", lambda: states(out) == {0: "done"})
    check_undisturbed(configs, out, tmp_path, what_must_agree)


def test_preempted_runs_go_on_from_their_checkpoints(
    toy: str, out: Path, tmp_path: Path, what_must_agree: Essence
) -> None:
    configs = grid(toy, 0, 1, iterations=100, sleep=0.05)
    assert cli.main(launch(configs, "--partition", "main", "--slurm", "nodelist=n1")) == 0
    until("both are on their way", lambda: all(iteration(out, config) > 3 for config in configs))
    rival = ["sbatch", "--wait", "--partition=urgent", "--nodelist=n1", "--cpus-per-task=2", "--output=/dev/null"]
    subprocess.run([*rival, "--wrap", "true"], check=True, capture_output=True, timeout=WAIT_S)
    assert "done" not in states(out).values()
    assert states(out).keys() == {0, 1}
    until("both end", lambda: set(states(out).values()) == {"done"})
    log = next(read_launches(out)[0].folder.glob("*_log.out")).read_text()
    assert log.count("Starting with JobEnvironment") == 2
    check_undisturbed(configs, out, tmp_path, what_must_agree)


def test_a_node_that_dies_loses_nothing(
    toy: str, out: Path, tmp_path: Path, cluster: Path, what_must_agree: Essence
) -> None:
    """Its daemon and everything on it are killed at once; the job comes back, and the runs go on."""
    daemon = cluster / "slurmd-n2.pid"
    if not daemon.exists():
        pytest.skip("the nodes of this SLURM are not ours to kill")
    configs = grid(toy, 0, 1, iterations=100, sleep=0.05)
    assert cli.main(launch(configs, "--slurm", "nodelist=n2")) == 0
    until("both have a checkpoint", lambda: len(list(out.glob("Toy/cartpole/n1/*/checkpoint.pt"))) == 2)
    (job,) = {line.split()[0] for line in squeue("--noheader", "--name", read_launches(out)[0].name).splitlines()}
    os.kill(int(daemon.read_text()), signal.SIGKILL)
    for pid in processes_of(job):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    try:
        until("nothing of it lives", lambda: set(states(out).values()) <= {"lost", "waiting"})
        until("the node is given up", lambda: re.search("down|drain", sinfo("-hNn", "n2", "-o", "%T")))
    finally:  # a node that was drained comes back by its administrator's word only
        subprocess.run(["scontrol", "update", "nodename=n2", "state=undrain"], check=False, capture_output=True)
        subprocess.run([sys.executable, str(CLUSTER), "start", "--folder", str(cluster)], check=True)
    until("both end", lambda: set(states(out).values()) == {"done"})
    check_undisturbed(configs, out, tmp_path, what_must_agree)


def processes_of(job: str) -> list[int]:
    """Return the processes of a job, its steps' managers first: who outlives its step could still report its end."""
    managers, found = [], []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            if (folder / "cmdline").read_bytes().startswith(f"slurmstepd: [{job}.".encode()):
                managers.append(int(folder.name))
            elif f"SLURM_JOB_ID={job}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
    return [pid for pid in managers + found if pid != os.getpid()]


def test_status_is_json_that_says_where_a_run_is(toy: str, out: Path, capfd) -> None:
    configs = grid(toy, 0, iterations=2000, sleep=0.05)
    assert cli.main(launch(configs)) == 0
    until("the run is on its way", lambda: iteration(out, configs[0]) > 3)
    capfd.readouterr()
    assert cli.main(["status", "--json"]) == 0
    (run,) = json.loads(capfd.readouterr().out)["runs"]
    assert run["state"] == "running"
    assert "job" in run["where"]
    assert run["left_s"] > 0
    assert run["score"] is not None
