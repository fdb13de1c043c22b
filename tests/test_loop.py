"""The loop: what it records, and that a run that was killed ends as one that was not."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pandas as pd
import pytest
import torch

import bench
from algorithms import ALGORITHMS
from bench import cli, loop
from bench.config import Protocol, RunConfig
from bench.errors import UserError
from bench.files import read_json
from bench.record import normalise, state
from bench.seeding import CURVE_EVALUATION_SEED, FINAL_EVALUATION_SEED, TUNING_EVALUATION_SEED

pytestmark = pytest.mark.usefixtures("store")

Essence = Callable[[Path], dict[str, Any]]


def config(toy: str, **settings: Any) -> RunConfig:
    return RunConfig(toy, "cartpole", 1, 0, preset="full", settings=settings)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def whole(store: Path, toy: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    assert loop.run(config(toy), out).status == "finished"
    return config(toy).directory(out)


def test_record_of_a_finished_run(whole: Path, what_must_agree: Essence) -> None:
    assert what_must_agree(whole)["files"] == [
        "config.json",
        "evaluations.csv",
        "policy.pt",
        "progress.csv",
        "result.json",
    ]
    written = read_json(whole / "config.json")
    assert written["algorithm"] == "Toy"
    assert written["spec"].endswith("toy_method.py:Toy")
    assert (written["preset"], written["variant"]) == ("full", None)
    assert written["settings"]["step_size"] == 0.1
    assert written["demonstrations"]["pairs"] == 20
    assert set(written["versions"]) >= {"torch", "numpy", "gymnasium", "mujoco"}
    progress = rows(whole / "progress.csv")
    assert list(progress[0]) == ["iteration", "env_steps", "wall_s", "observation", "first_action"]
    assert [int(row["iteration"]) for row in progress] == list(range(1, 9))
    assert [int(row["env_steps"]) for row in progress] == list(range(6, 54, 6))


def test_evaluations_are_per_episode_and_end_with_the_result(whole: Path) -> None:
    evaluations = pd.read_csv(whole / "evaluations.csv")
    assert list(evaluations) == ["iteration", "env_steps", "episode", "eval_seed", "return", "length", "terminated"]
    curve, final = evaluations[evaluations.iteration < 8], evaluations[evaluations.iteration == 8]
    assert (curve.groupby("iteration").size() == 10).all()
    assert set(curve.iteration) == set(range(8))
    assert (curve.eval_seed == CURVE_EVALUATION_SEED + curve.episode).all()
    assert (final.eval_seed == FINAL_EVALUATION_SEED + np.arange(50)).all()
    result = read_json(whole / "result.json")
    assert result["mean"] == pytest.approx(final["return"].mean())
    assert result["n_episodes"] == 50
    references = result["references"]
    assert result["normalised"] == pytest.approx(
        (result["mean"] - references["random"]) / (references["expert"] - references["random"])
    )


def test_a_tuning_seed_is_judged_on_starts_that_no_table_uses(toy: str, tmp_path: Path, capsys) -> None:
    table, tuning = (RunConfig(toy, "cartpole", 1, seed, preset="smoke") for seed in (999, 1000))
    firsts = []
    for one in (table, tuning):
        loop.run(one, tmp_path)
        firsts.append(bench.load(one.directory(tmp_path)).eval_seed.min())
    assert firsts == [FINAL_EVALUATION_SEED, TUNING_EVALUATION_SEED]
    assert cli.main(["evaluate", str(tuning.directory(tmp_path)), "--episodes", "5"]) == 0
    again, recorded = capsys.readouterr().out.splitlines()
    assert again.split(", ")[0].replace("deterministic", "recorded") == recorded


def test_the_recorded_score_is_what_plain_gymnasium_gives(whole: Path) -> None:
    act = bench.load_policy(whole)
    recorded = bench.load(whole)
    env = gymnasium.make("CartPole-v1", max_episode_steps=200)
    for _, row in recorded.head(5).iterrows():
        observation, _ = env.reset(seed=int(row["eval_seed"]))
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(act(observation)[0])
            total, over = total + float(reward), terminated or truncated
        assert total == row["return"]
    env.close()


@pytest.mark.parametrize("at", [1, 4, 8])
def test_a_stopped_run_ends_as_one_never_stopped(
    whole: Path, toy: str, tmp_path: Path, at: int, what_must_agree: Essence
) -> None:
    seen = []
    outcome = loop.run(config(toy), tmp_path, seen.append, lambda: seen[-1].iteration == at)
    run = config(toy).directory(tmp_path)
    assert outcome.status == "stopped"
    assert state(run) == "cut short"
    torch.manual_seed(5)  # whatever went on in between
    np.random.seed(5)  # noqa: NPY002
    assert loop.run(config(toy), tmp_path).status == "finished"
    assert what_must_agree(run) == what_must_agree(whole)


KILLED = """
import os, signal, sys
from pathlib import Path
from bench import cli, loop
from bench.config import RunConfig

loop.CHECKPOINT_S = 0.0 if sys.argv[3] == "checkpoint" else 60.0
def report(progress):
    if progress.iteration == 5:
        os.kill(os.getpid(), signal.SIGKILL)
loop.run(RunConfig(sys.argv[1], "cartpole", 1, 0, preset="full"), Path(sys.argv[2]), report)
"""


@pytest.mark.parametrize("how", ["checkpoint", "no checkpoint"])
def test_a_killed_run_ends_as_one_never_killed(
    whole: Path, toy: str, tmp_path: Path, how: str, what_must_agree: Essence
) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, toy, str(tmp_path), how], check=False)
    assert killed.returncode == -signal.SIGKILL
    run = config(toy).directory(tmp_path)
    assert (run / "checkpoint.pt").exists() == (how == "checkpoint")
    assert loop.run(config(toy), tmp_path).status == "finished"
    assert what_must_agree(run) == what_must_agree(whole)


FULL = """
import resource, sys
from pathlib import Path
from bench import loop
from bench.config import RunConfig
from bench.files import CannotWrite

loop.CHECKPOINT_S = float(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]),) * 2)
try:
    loop.run(RunConfig(sys.argv[1], "cartpole", 1, 0, preset="full"), Path(sys.argv[2]))
except CannotWrite as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("every", "size", "what"),
    [("0", "20000", "checkpoint.pt"), ("60", "3000", "evaluations.csv"), ("60", "300", "config.json")],
)
def test_a_run_that_found_no_room_ends_as_one_that_did(
    whole: Path, toy: str, tmp_path: Path, what_must_agree: Essence, every: str, size: str, what: str
) -> None:
    """No file may grow beyond `size` bytes, which cuts a table in the middle of a row."""
    run = config(toy).directory(tmp_path)
    full = subprocess.run(
        [sys.executable, "-c", FULL, toy, str(tmp_path), every, size], capture_output=True, text=True, check=True
    )
    assert full.stdout == f"cannot write {run / what}: File too large\n"
    assert state(run) == ("missing" if what == "config.json" else "failed")
    assert loop.run(config(toy), tmp_path).status == "finished"
    assert what_must_agree(run) == what_must_agree(whole)


def test_same_seed_same_numbers_other_seed_others(
    whole: Path, toy: str, tmp_path: Path, what_must_agree: Essence
) -> None:
    other = RunConfig(toy, "cartpole", 1, 1, preset="full")
    loop.run(other, tmp_path)
    assert what_must_agree(other.directory(tmp_path))["policy"] != what_must_agree(whole)["policy"]


def test_a_finished_run_is_skipped_and_its_files_are_left_alone(whole: Path, toy: str) -> None:
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in whole.iterdir()}
    outcome = loop.run(config(toy), whole.parents[3])
    assert outcome.status == "skipped"
    assert outcome.result == read_json(whole / "result.json")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in whole.iterdir()} == before


def test_other_settings_are_refused(whole: Path, toy: str) -> None:
    with pytest.raises(UserError, match=r"settings\.step_size is 0\.1 there, 0\.2 here"):
        loop.run(config(toy, step_size=0.2), whole.parents[3])


def test_a_crash_leaves_its_traceback(toy: str, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        loop.run(config(toy, crash_at=2), tmp_path)
    run = config(toy).directory(tmp_path)
    assert state(run) == "failed"
    assert "toy_method.py" in (run / "error.txt").read_text()
    assert len(rows(run / "progress.csv")) == 2


def test_a_policy_that_blew_up_is_not_a_result(toy: str, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"after iteration 4 the policy's .* is not finite"):
        loop.run(config(toy, blow_up_at=3), tmp_path)
    assert state(config(toy).directory(tmp_path)) == "failed"


def test_a_damaged_checkpoint_is_one_clear_line(toy: str, tmp_path: Path) -> None:
    loop.run(config(toy), tmp_path, stop=lambda: True)
    path = config(toy).directory(tmp_path) / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"checkpoint\.pt cannot be read"):
        loop.run(config(toy), tmp_path)


def test_a_checkpoint_says_its_schema_and_one_that_does_not_is_of_the_first(toy: str, tmp_path: Path) -> None:
    loop.run(config(toy), tmp_path, stop=lambda: True)
    path = config(toy).directory(tmp_path) / "checkpoint.pt"
    content = torch.load(path, weights_only=False)
    assert content.pop("schema") == 1
    torch.save({"schema": 2, **content}, path)
    with pytest.raises(UserError, match=r"checkpoint\.pt is of schema 2, this version reads 1"):
        loop.run(config(toy), tmp_path)
    torch.save(content, path)
    assert loop.run(config(toy), tmp_path).status == "finished"


def test_long_runs_log_about_500_rows_and_evaluate_20_times(toy: str, tmp_path: Path) -> None:
    long = config(toy, iterations=1100)
    loop.run(long, tmp_path)
    run = long.directory(tmp_path)
    logged = [int(row["iteration"]) for row in rows(run / "progress.csv")]
    assert logged == [*range(3, 1100, 3), 1100]
    assert len(pd.read_csv(run / "evaluations.csv").iteration.unique()) == 21


@pytest.mark.parametrize(
    ("iterations", "expected"), [(1, {0}), (3, {0, 1, 2}), (40, set(range(0, 40, 2))), (1000, set(range(0, 1000, 50)))]
)
def test_schedule(iterations: int, expected: set[int]) -> None:
    assert loop.schedule(iterations, Protocol()) == expected


def test_normalised_score_by_hand() -> None:
    assert normalise(50.0, 100.0, 0.0) == 0.5
    assert normalise(-110.0, -100.0, -200.0) == 0.9
    assert normalise(1.0, None, 0.0) is None
    assert normalise(1.0, 2.0, 2.0) is None


def test_load_gives_one_row_per_final_episode(whole: Path) -> None:
    frame = bench.load(whole.parents[3])
    assert len(frame) == 50
    assert frame.algorithm.unique().tolist() == ["Toy"]
    assert frame.expert.iloc[0] == 200.0
    assert frame["return"].tolist() == frame["length"].tolist()  # CartPole pays 1 a step
    assert bench.load([whole, whole.parents[3]]).equals(frame)


def test_load_names_a_damaged_record(whole: Path, tmp_path: Path) -> None:
    import shutil

    run = tmp_path / "run"
    shutil.copytree(whole, run)
    text = (run / "evaluations.csv").read_text().splitlines()
    (run / "evaluations.csv").write_text("\n".join(text[:-1]) + "\n")
    with pytest.raises(UserError, match=r"evaluations\.csv holds 49 final episodes"):
        bench.load(run)
    (run / "evaluations.csv").write_bytes(b"\x00\xff")
    with pytest.raises(UserError, match=r"evaluations\.csv is damaged"):
        bench.load(run)
    with pytest.raises(UserError, match="does not exist"):
        bench.load(tmp_path / "nowhere")


def test_config_survives_json(whole: Path) -> None:
    text = (whole / "config.json").read_text()
    assert json.dumps(json.loads(text), indent=1) + "\n" == text
    assert not math.isnan(json.loads(text)["references"]["expert"])


@pytest.mark.parametrize("name", list(ALGORITHMS))
def test_every_method_goes_on_from_its_checkpoint(name: str, tmp_path: Path, what_must_agree: Essence) -> None:
    one = RunConfig(name, "cartpole", 1, 0, preset="smoke")
    loop.run(one, tmp_path / "whole")
    assert loop.run(one, tmp_path / "stopped", stop=lambda: True).status == "stopped"
    assert loop.run(one, tmp_path / "stopped").status == "finished"
    whole, stopped = (what_must_agree(one.directory(tmp_path / out)) for out in ("whole", "stopped"))
    assert stopped == whole


def test_a_run_has_one_thread():
    """NumPy's too, whatever the environment says: several would add up in another order, and wait for each other."""
    code = (
        "import numpy; from threadpoolctl import threadpool_info; from bench.loop import settle; settle(); "
        "import torch; print(torch.get_num_threads(), *(pool['num_threads'] for pool in threadpool_info()))"
    )
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | dict.fromkeys(names, "2"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == {"1"}
