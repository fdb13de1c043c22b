"""A sweep whose workers are jobs of a real SLURM."""

import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from optuna.trial import TrialState

from bench import cli
from bench.sweep import Sweep, open_study
from bench.sweep_space import read_space

pytestmark = [pytest.mark.slurm, pytest.mark.usefixtures("store", "cluster")]

WAIT_S = 400.0  # for a loaded machine; the test ends as soon as it can


def until(what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def test_a_job_that_is_requeued_takes_up_its_trials_again(
    toy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"iterations": 40, "sleep": 0.1}
    space = read_space(["step_size=0.01:1:log"], toy, ["cartpole"], "smoke", None, settings)
    sweep = Sweep("one", toy, (("cartpole", 1),), (1000, 1001), space, "smoke", None, settings, None, tmp_path)
    command = ["sweep", "--algorithm", toy, "--tasks", "cartpole", "--params", "step_size=0.01:1:log", "--name", "one"]
    command += ["--set", "iterations=40", "--set", "sleep=0.1", "--preset", "smoke", "--trials", "4", "--seeds", "2"]
    command += ["--out", str(tmp_path)]
    assert cli.main([*command, "--executor", "slurm", "--workers", "2", "--cores", "1", "--time", "30"]) == 0
    found = re.match(r"submitted 2 jobs of up to 1 workers as (\d+);", capsys.readouterr().out)
    assert found is not None
    job = found[1]
    try:
        until("both jobs work", lambda: len(list(sweep.folder.glob("Toy+*/*/*/*/heartbeat"))) == 2)
        subprocess.run(["scontrol", "requeue", f"{job}_0"], check=True)
        ask = ["squeue", "--noheader", "--job", job]

        def over() -> bool:
            return not subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()

        until("the sweep ends", over)
    finally:
        subprocess.run(["scancel", job], check=False)
    trials = open_study(sweep).get_trials()
    assert len(trials) == 4
    assert all(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
    assert not any("broke" in trial.user_attrs for trial in trials)
    assert cli.main(command) == 0
    assert capsys.readouterr().out.startswith("4 trials: ")
