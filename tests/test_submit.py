"""What is handed to SLURM, told by programs that pretend to be it."""

import pickle
import shlex
import sys
from pathlib import Path

import pytest

from bench import cli
from bench.errors import UserError
from bench.files import read_json
from slurm.launches import launching, read_launches
from slurm.submit import Cluster, read_cluster

pytestmark = pytest.mark.usefixtures("store")

SBATCH = """#!/bin/sh
cp "$1" {folder}/submitted.sh
echo "Submitted batch job 17"
"""
GRID = ["run", "--task", "cartpole", "--algorithm", "bc", "--trajectories", "1", "--preset", "smoke"]
SLURM = [*GRID, "--executor", "slurm"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a SLURM that takes 5 jobs in an array, and has nothing in its queue."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    program(tmp_path, "sbatch", SBATCH.format(folder=tmp_path))
    program(tmp_path, "scontrol", "#!/bin/sh\necho 'MaxArraySize            = 5'\n")
    program(tmp_path, "squeue", "#!/bin/sh\n")
    program(tmp_path, "srun", "#!/bin/sh\n")
    return tmp_path


def program(folder: Path, name: str, text: str) -> None:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def options(script: str) -> dict[str, str]:
    """Return what a batch script asks for."""
    lines = [line.removeprefix("#SBATCH --") for line in script.splitlines() if line.startswith("#SBATCH ")]
    return {key: value for key, _, value in (line.partition("=") for line in lines)}


def test_one_array_with_a_cap_and_several_runs_a_job(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "mine.toml").write_text('partition = "long"\ntime = 90\nmem = "8G"\nsetup = ["module load gcc"]\n')
    more = ["--slurm-file", "mine.toml", "--partition", "short", "--cores", "2", "--max-parallel", "3"]
    assert cli.main([*SLURM, *more, "--seeds", "3", "--account", "us", "--slurm", "qos=low"]) == 0
    assert "3 runs: 3 submitted\nsubmitted 1 job of 2 cores as 17 (bench-" in capsys.readouterr().out
    text = (folder / "submitted.sh").read_text()
    asked = options(text)
    expected = {"partition": "short", "account": "us", "time": "90", "mem": "8G", "qos": "low", "cpus-per-task": "2"}
    assert asked.items() >= expected.items()
    assert asked["signal"] == "USR2@120"
    assert "requeue" in asked
    assert "module load gcc" in text
    assert "srun --unbuffered" in text
    assert "--cpus-per-task=2" in text.splitlines()[-1]
    (launch,) = read_launches(Path("runs"))
    assert launch.jobs == (tuple(f"bc/cartpole/n1/seed{seed}" for seed in range(3)),)
    assert asked["job-name"] == launch.name
    (pickled,) = launch.folder.glob("*_submitted.pkl")
    job = pickle.loads(pickled.read_bytes()).function
    assert [config.seed for config, _ in job.runs] == [0, 1, 2]
    assert job.out == folder / "runs"


def test_what_no_array_can_hold_is_packed_closer(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """60 runs of 1.5 s at 30 s of a core a job would be 3 jobs; MaxArraySize is 2."""
    program(folder, "scontrol", "#!/bin/sh\necho 'MaxArraySize            = 2'\n")
    assert cli.main([*SLURM, "--seeds", "60", "--cores", "1", "--time", "1"]) == 0
    (launch,) = read_launches(Path("runs"))
    assert len(launch.jobs) == 2
    assert options((folder / "submitted.sh").read_text())["array"] == "0-1%2"
    assert sum(map(len, launch.jobs)) == 60
    assert "60 runs: 60 submitted" in capsys.readouterr().out


def test_a_second_launch_adds_what_is_neither_done_nor_queued(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*GRID, "--seed", "0"]) == 0
    assert cli.main([*SLURM, "--seeds", "3"]) == 0
    (launch,) = read_launches(Path("runs"))
    program(folder, "squeue", f"#!/bin/sh\necho {launch.name} N/A\n")
    capsys.readouterr()
    assert cli.main([*SLURM, "--seeds", "3"]) == 0
    assert capsys.readouterr().out == "3 runs: 1 finished, 2 in the queue; nothing was submitted\n"
    assert cli.main([*SLURM, "--seeds", "4"]) == 0
    assert capsys.readouterr().out.startswith("4 runs: 1 finished, 2 in the queue, 1 submitted\n")
    program(folder, "squeue", "#!/bin/sh\n")  # all were cancelled, and the queue has forgotten them
    assert cli.main([*SLURM, "--seeds", "3"]) == 0
    assert capsys.readouterr().out.startswith("3 runs: 1 finished, 2 submitted\n")


def test_a_sweeps_workers_are_jobs_that_need_nothing_but_its_folder(
    toy: str, folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = ["sweep", "--algorithm", toy, "--tasks", "cartpole", "--params", "step_size", "--preset", "smoke"]
    sweep += ["--trials", "2", "--seeds", "1", "--name", "one", "--executor", "slurm", "--cores", "2", "--workers", "5"]
    assert cli.main([*sweep, "--partition", "short"]) == 0
    assert "submitted 3 jobs of up to 2 workers as 17; logs in runs/sweeps/one/slurm" in capsys.readouterr().out
    asked = options((folder / "submitted.sh").read_text())
    assert (asked["array"], asked["partition"], asked["job-name"]) == ("0-2%3", "short", "sweep-one")
    pickled = sorted((folder / "runs/sweeps/one/slurm").glob("*_submitted.pkl"))
    jobs = [pickle.loads(path.read_bytes()).function for path in pickled]
    assert [job.workers for job in jobs] == [2, 2, 1]
    jobs[2]()
    assert cli.main(sweep) == 0
    assert capsys.readouterr().out.startswith("2 trials: ")
    assert cli.main([*sweep, "--name", "another", "--time", "0"]) == 2
    monkeypatch.setenv("PATH", str(folder))
    assert cli.main([*sweep, "--name", "another"]) == 2
    assert "sbatch and srun are not on the PATH" in capsys.readouterr().err
    assert not (folder / "runs/sweeps/another").exists()


def test_dry_run_shows_entries_jobs_script_and_cost_and_writes_nothing(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bin" / "sbatch").unlink()
    assert cli.main([*SLURM, "--seeds", "3", "--cores", "2", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["cartpole", "n=1"]] * 3
    assert lines[3] == "job 0: 3 runs, cartpole n=1 bc seed 0 to cartpole n=1 bc seed 2, about 3 s"
    assert "#SBATCH --signal=USR2@120" in lines
    assert lines[-2] == "3 runs: 3 to submit"
    assert lines[-1] == "1 job of 2 cores, at most 50 at the same time: about 0.0 core-hours, 3 s from start to end"
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--executor", "local", "--partition", "x"], "--partition is for --executor slurm"),
        (["--time", "0"], "at least one is needed"),
        (["--slurm", "mem"], "--slurm mem: should read key=value"),
        (["--slurm", "partition=x"], "--slurm partition: should be given as --partition"),
        (["--slurm", "array=1-3"], "--slurm array: is set by the executor itself"),
        (["--slurm", "requeue=false"], "--slurm requeue: is set by the executor itself"),
        (["--slurm", "cpus-per-task=4"], "--slurm cpus-per-task: should be given as --cores"),
        (["--slurm", "exclusive=false"], "--slurm exclusive: should be left out, not false"),
        (["--slurm-file", "setup.toml"], "setup.toml: setup should be a list of lines of shell, not 5"),
        (["--slurm-file", "nowhere.toml"], "cannot read nowhere.toml"),
        (["--slurm-file", "bad.toml"], "bad.toml is not readable TOML"),
        (["--slurm-file", "typed.toml"], "time should be an integer from 1 up, not '2 h'"),
        (["--slurm-file", "nested.toml"], "nested.toml: slurm should be a number, a text or true"),
    ],
)
def test_bad_input_is_one_line(folder: Path, arguments: list[str], words: str, capsys) -> None:
    (folder / "bad.toml").write_text("time =")
    (folder / "setup.toml").write_text("setup = 5")
    (folder / "typed.toml").write_text('time = "2 h"')
    (folder / "nested.toml").write_text("[slurm]\nmem = 1")
    assert cli.main([*SLURM, *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (folder / "runs").exists()


def test_what_slurm_refuses_is_one_line_and_leaves_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    program(folder, "sbatch", "#!/bin/sh\necho 'sbatch: error: invalid partition specified: x' >&2\nexit 1\n")
    assert cli.main(SLURM) == 2
    assert capsys.readouterr().err == "bench: error: SLURM refuses: invalid partition specified: x\n"
    assert read_launches(Path("runs")) == []


def test_without_slurm_it_says_so(folder: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bin" / "sbatch").unlink()
    monkeypatch.setenv("PATH", f"{folder / 'bin'}")
    assert cli.main(SLURM) == 2
    assert "sbatch and srun are not on the PATH" in capsys.readouterr().err


def test_where_the_queue_cannot_be_asked_nothing_is_submitted_twice(folder: Path, capsys) -> None:
    assert cli.main(SLURM) == 0
    program(folder, "squeue", "#!/bin/sh\nexit 1\n")
    assert cli.main(SLURM) == 2
    assert "it cannot be told which runs are in its queue already" in capsys.readouterr().err


def test_one_launch_at_a_time_finds_out_what_is_left(folder: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("slurm.launches.PATIENCE_S", 0.1)
    with launching(Path("runs")):
        assert cli.main(SLURM) == 2
    assert "launching into runs is in use by another process" in capsys.readouterr().err


def test_flags_come_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('cores = 4\nmax-parallel = 9\nmail-type = "END"')
    found = read_cluster(tmp_path / "a.toml", {"cores": 2, "time": None}, {"mail-user": "me"})
    assert found == Cluster(cores=2, max_parallel=9, settings={"mail_type": "END", "mail_user": "me"})
    with pytest.raises(UserError):
        Cluster(cores=0)


def test_the_command_that_launched_is_noted(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *SLURM])
    assert cli.main(SLURM) == 0
    (launch,) = read_launches(Path("runs"))
    assert read_json(launch.folder / "launch.json")["command"] == shlex.join(["bench", *SLURM])
