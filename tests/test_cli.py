"""The command line: bad input is one clear line and exit code 2, and what it prints can be relied on."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bench
from bench import cli, cli_text
from bench.errors import UserError
from bench.files import read_json
from bench.record import RunRecord, state

pytestmark = pytest.mark.usefixtures("store")

RUN = ["run", "--task", "cartpole", "--trajectories", "1", "--preset", "smoke"]
SWEEP = ["sweep", "--algorithm", "mgail-basic", "--tasks", "cartpole"]
BENCH = [sys.executable, "-m", "bench.cli"]


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def tree(path: Path) -> list[str]:
    return sorted(str(one.relative_to(path)) for one in path.rglob("*"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run"], "name a grid (--table1, --figure5) or all of a run: --task, --algorithm, --trajectories is missing"),
        (["run", "--table1", "--preset", "fast"], "invalid choice: 'fast'"),
        (["run", "--table1", "--tasks", "hoper"], "unknown task 'hoper'; known: cartpole,"),
        (["run", "--table1", "--tasks", "hopper", "--trajectories", "5"], "no cell of 5 trajectories"),
        (["run", "--table1", "--tasks", "cartpole", "--algorithms", "gale"], "unknown algorithm 'gale'; known: bc,"),
        (["run", "--table1", "--tasks", "cartpole", "--seeds", "0"], "run seed 0 alone is --seeds 0,"),
        (["run", "--table1", "--tasks", "cartpole", "--seeds", "x"], "'x' is not an integer"),
        (["run", "--table1", "--workers", "0"], "at least one is needed"),
        (["run", "--table1", "--workers", "3", "--executor", "slurm"], "--workers is for --executor local"),
        (["run", "--table1", "--trajectories", f"1-{10**20}"], "are too many: at most 100,000"),
        (["run", "--seed", "1", "--seeds", "2"], "not allowed with argument"),
        ([*RUN, "--algorithm", "bc", "--set", "learning_rat=1"], "unknown setting learning_rat; known: batch,"),
        ([*RUN, "--algorithm", "bc", "--set", "learning_rate=-1"], "setting learning_rate=-1: "),
        ([*RUN, "--algorithm", "bc", "--set", "learning_rate=fast"], "setting learning_rate='fast': "),
        ([*RUN, "--algorithm", "bc", "--set", "learning_rate=inf"], "setting learning_rate='inf': "),
        ([*RUN, "--algorithm", "bc", "--set", "learning_rate=NaN"], "setting learning_rate=nan: "),
        ([*RUN, "--algorithm", "bc", "--set", "num_envs=2"], "num_envs would change nothing on cartpole"),
        (
            ["run", "--table1", "--tasks", "hopper", "--set", "horizon=9"],
            "gail-trpo: unknown setting horizon; known:",
        ),
        (["run", "--figure5", "--tasks", "hopper", "--set", "memory=constant"], "mgail-basic: setting memory would"),
        ([*RUN, "--algorithm", "bc", "--set", "learning_rate"], "should read key=value"),
        ([*RUN, "--algorithm", "bc", "--variant", "none"], "unknown variant 'none'"),
        ([*RUN, "--algorithm", "bc", "--label", "a/b"], "label 'a/b' is to be a folder's name"),
        ([*RUN, "--algorithm", "bc", "--seed", "-1"], "'-1' should not be negative"),
        ([*RUN, "--algorithm", "bc", "--demonstrations", "no/such-v0"], "no/such-v0"),
        ([*RUN, "--algorithm", ".mine:Mine"], "cannot import '.mine': it should be a whole name"),
        ([*RUN, "--algorithm", "nowhere.py:Mine"], "nowhere.py does not exist"),
        ([*RUN, "--algorithm", "mine.py"], "should name its class too: mine.py:MyClass"),
        ([*RUN[:3], "--trajectories", "241", "--algorithm", "bc"], "241 were asked for; at most 240 can be made"),
        ([*RUN[:3], "--trajectories", "0", "--algorithm", "bc"], "at least one is needed"),
        (["evaluate", "runs/nowhere"], "cannot read runs/nowhere/config.json"),
        (["status", "nowhere"], "nowhere is not a folder of runs"),
        (["expert", "evaluate", "--task", "hoper"], "unknown task 'hoper'"),
        (["dataset", "make", "--task", "cartpole", "--trajectories", "241"], "1 to 240 can be made"),
        (["dataset", "export", "no/such-v0", "x.npz"], "no/such-v0"),
        ([*SWEEP, "--params", "horizon,tempo"], "mgail-basic: unknown setting tempo; known: adjoint_clip,"),
        ([*SWEEP, "--params", "sigma"], "mgail-basic: setting sigma would change nothing on cartpole"),
        ([*SWEEP, "--params", "memory"], "mgail-basic: setting memory would change nothing on cartpole"),
        ([*SWEEP, "--params", "forward_model"], "setting forward_model is basic, as the name says"),
        ([*SWEEP, "--params", "horizon=0:9"], "setting horizon=0: Input should be greater than 0; give another range"),
        ([*SWEEP, "--params", "horizon=9:2"], "horizon=9:2: should read low:high or low:high:log, with integers"),
        ([*SWEEP, "--params", "horizon=1:2.5"], "horizon=1:2.5: should read low:high"),
        ([*SWEEP, "--params", "horizon=1:9:lin"], "horizon=1:9:lin: should read low:high"),
        ([*SWEEP, "--params", "hidden"], "setting hidden is a list, which cannot be swept"),
        ([*SWEEP, "--params", "hidden=[64]/[100]"], "setting hidden is a list, which cannot be swept"),
        ([*SWEEP, "--params", "horizon", "--trajectories", "0"], "at least one is needed"),
        (
            [*SWEEP, "--params", "burn_in", "--algorithm", "mgail-advanced", "--set", "burn_in=0"],
            "burn_in is swept and",
        ),
        ([*SWEEP, "--params", "horizon", "--seeds", "0,1000"], "seed 0 may be a table's"),
        ([*SWEEP, "--params", "horizon", "--trials", "0"], "at least one is needed"),
        ([*SWEEP, "--params", "horizon", "--name", "a/b"], "is to be a folder's name"),
        ([*SWEEP, "--params", "horizon", "--storage", "nosuch://x"], "--storage nosuch://x: "),
        (["frobnicate"], "invalid choice: 'frobnicate'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(arguments) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    (line,) = errors.strip().splitlines()
    assert line.startswith("bench: error: ")
    assert words in line
    assert tree(tmp_path) == []


def test_a_single_run_is_recorded_and_skipped_the_second_time(
    toy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*RUN, "--algorithm", toy, "--set", "iterations=3", "--seed", "4"]
    assert cli.main(command) == 0
    first = capsys.readouterr().out
    run = tmp_path / "runs/Toy/cartpole/n1/seed4"
    assert state(run) == "finished"
    assert first.startswith("cartpole n=1 Toy seed 4: return ")
    assert f"record: {run.relative_to(tmp_path)}" in first
    assert read_json(run / "config.json")["settings"]["iterations"] == 3
    assert cli.main(command) == 0
    assert "(finished before)" in capsys.readouterr().out
    assert cli.main([*RUN, "--algorithm", toy, "--seed", "4"]) == 2
    assert "holds a run of other settings (settings.iterations is 3 there, 8 here)" in capsys.readouterr().err


def test_a_smoke_run_in_the_way_is_named_as_one(toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*RUN, "--algorithm", toy]) == 0
    capsys.readouterr()
    assert cli.main([*RUN, "--algorithm", toy, "--preset", "quick"]) == 2
    assert "(preset smoke there, quick here; " in capsys.readouterr().err


def test_a_run_in_use_by_another_process_is_refused(toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*RUN, "--algorithm", toy]) == 0
    run = Path("runs/Toy/cartpole/n1/seed0")
    (run / "result.json").unlink()
    (run / "policy.pt").unlink()
    capsys.readouterr()
    with RunRecord(run, read_json(run / "config.json")):
        assert cli.main([*RUN, "--algorithm", toy]) == 2
        assert "in use by another process" in capsys.readouterr().err
        assert cli.main([*RUN, "--algorithm", toy, "--seeds", "0,1", "--workers", "1"]) == 2
    output, errors = capsys.readouterr()
    assert output.startswith("2 runs: 1 finished, 1 in use by another process")
    assert errors.startswith("busy: ")


def test_an_edited_method_is_another_method(toy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    method = tmp_path / "mine.py"
    text = Path(toy.rpartition(":")[0]).read_text()
    method.write_text(text)
    assert cli.main([*RUN, "--algorithm", "mine.py:Toy"]) == 0
    method.write_text(text + "# edited\n")
    assert cli.main([*RUN, "--algorithm", "mine.py:Toy"]) == 2
    assert "source is" in capsys.readouterr().err


def test_the_same_command_gives_the_same_numbers(toy: str, tmp_path: Path) -> None:
    records = []
    for out in ("a", "b"):
        assert cli.main([*RUN, "--algorithm", toy, "--out", out]) == 0
        run = tmp_path / out / "Toy/cartpole/n1/seed0"
        result = {key: value for key, value in read_json(run / "result.json").items() if not key.endswith("_s")}
        records.append((result, (run / "evaluations.csv").read_bytes(), (run / "policy.pt").read_bytes()))
    assert records[0] == records[1]


def test_evaluate_gives_the_recorded_numbers_again(toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main([*RUN, "--algorithm", toy])
    capsys.readouterr()
    assert cli.main(["evaluate", "runs/Toy/cartpole/n1/seed0", "--episodes", "5"]) == 0
    again, recorded = capsys.readouterr().out.splitlines()
    assert again.split(", ")[0].replace("deterministic", "recorded") == recorded
    assert cli.main(["evaluate", "runs/Toy/cartpole/n1/seed0", "--episodes", "5", "--stochastic"]) == 0
    assert capsys.readouterr().out.startswith("stochastic: return ")


def test_compare_pairs_runs(toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    for out, step in (("a", "0.1"), ("b", "0.5")):
        for seed in ("0", "1"):
            assert cli.main([*RUN, "--algorithm", toy, "--out", out, "--set", f"step_size={step}", "--seed", seed]) == 0
    frames = {out: bench.load(out).groupby("seed")["return"].mean() for out in "ab"}
    capsys.readouterr()
    assert cli.main(["compare", "a", "b", "--format", "json"]) == 0
    (row,) = [row for row in json.loads(capsys.readouterr().out)["tests"] if row["scope"] == "cell"]
    assert (row["algorithm"], row["task"], row["n_pairs"]) == ("Toy", "cartpole", 2)
    assert (row["mean_a"], row["mean_b"]) == (pytest.approx(frames["a"].mean()), pytest.approx(frames["b"].mean()))
    assert row["changed"] == "step_size 0.1 → 0.5"
    assert cli.main(["compare", "a", "a"]) == 0
    assert "identical" in capsys.readouterr().out
    Path("empty").mkdir()
    assert cli.main(["compare", "a", "empty"]) == 2
    assert "no finished run in empty" in capsys.readouterr().err


def test_a_grid_ends_with_exit_code_1_if_a_run_failed_and_only_failed_runs_it_again(
    toy: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    grid = [*RUN, "--algorithm", toy, "--seeds", "2"]
    assert cli.main([*grid, "--set", "crash_at=1"]) == 1
    output, errors = capfd.readouterr()
    assert output == "2 runs: 2 failed; records in runs\n"
    assert errors.count("ZeroDivisionError: the toy crashed") == 4  # when it happens, and in the end
    assert cli.main([*grid, "--set", "crash_at=1", "--only", "missing", "--dry-run"]) == 0
    assert capfd.readouterr().out == "0 runs, 0 to do\n"
    assert cli.main([*grid, "--set", "crash_at=1", "--only", "failed", "--dry-run"]) == 0
    assert "2 runs, 2 to do" in capfd.readouterr().out
    assert cli.main(["status", "--json"]) == 0
    rows = json.loads(capfd.readouterr().out)["runs"]
    assert [(row["seed"], row["state"]) for row in rows] == [(0, "failed"), (1, "failed")]
    assert tree(tmp_path / "runs/Toy/cartpole/n1/seed0") == [
        "config.json",
        "error.txt",
        "evaluations.csv",
        "progress.csv",
    ]


def test_dry_run_prints_every_entry_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--table1", "--preset", "smoke", "--tasks", "cartpole,acrobot", "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * 4 * 5 + 1
    assert "40 runs, 40 to do: about" in lines[-1]
    assert lines[0].startswith("acrobot n=1 mgail-advanced seed 0 ")
    assert tree(tmp_path) == []


def test_terminated_a_single_run_is_checkpointed(toy: str, tmp_path: Path) -> None:
    command = [*BENCH, *RUN, "--algorithm", toy, "--set", "iterations=2000", "--set", "sleep=0.01"]
    run = tmp_path / "runs/Toy/cartpole/n1/seed0"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (run / "progress.csv").exists() or not (run / "progress.csv").stat().st_size:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert "the same command goes on" in errors
    assert (run / "checkpoint.pt").exists()


def test_a_read_only_folder_is_one_clear_line(toy: str, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        (tmp_path / "runs").write_text("")  # root may write anywhere, but not below a file
    else:
        (tmp_path / "runs").mkdir(mode=0o500)
    done = subprocess.run([*BENCH, *RUN, "--algorithm", toy], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "cannot write runs/Toy" in done.stderr


COMMANDS = ["run", "analyze", "publish", "evaluate", "watch", "compare", "status", "sweep", "sync", "expert", "dataset"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        cli.main([command, "--help"])
    assert f"usage: bench {command}" in capsys.readouterr().out


def test_lists_of_numbers() -> None:
    assert cli_text.seeds("3") == [0, 1, 2]
    assert cli_text.seeds("0,3,7") == [0, 3, 7]
    assert cli_text.seeds("7,") == [7]
    assert cli_text.seeds("1000-1003") == [1000, 1001, 1002, 1003]
    assert cli_text.integers("4,1-3,4") == [4, 1, 2, 3]
    for text in ("", "a", "1-b", "-3", "3-1"):
        with pytest.raises(UserError):
            cli_text.integers(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("a=50", 50), ("a=0.5", 0.5), ("a=[1,2]", [1, 2]), ("a=bc", "bc"), ("a=true", True), ("a=b=c", "b=c")],
)
def test_settings_are_json_or_words(text: str, value: object) -> None:
    assert cli_text.setting(text) == ("a", value)


def test_the_mirror_is_imported_only_if_asked_for(tmp_path: Path) -> None:
    code = "import sys; from bench.cli import main; main(sys.argv[1:]); print('wandb' in sys.modules)"
    for mode, imported in (("disabled", "False"), ("offline", "True")):
        command = [sys.executable, "-c", code, *RUN, "--algorithm", "bc", "--wandb", mode, "--out", mode]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == imported
        assert "wandb" not in done.stderr.lower()  # it keeps quiet; a slow machine shows progress
    run = tmp_path / "offline/bc/cartpole/n1/seed0"
    assert state(run) == "finished"
    assert list(run.glob("wandb/offline-run-*/*.wandb"))
