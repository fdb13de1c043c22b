"""How runs stand, told by their records, their heartbeats and what was launched."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from bench import cli
from bench.lock import Lock
from bench.record import RunRecord, state
from slurm import launches, status
from slurm.launches import local_launch, read_launches, write_launch

SQUEUE = """#!/bin/sh
{body}
"""


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")  # no SLURM unless a test puts one there
    return Path("runs")


def squeue(out: Path, body: str) -> None:
    """Put a `squeue` on the PATH."""
    program = out.absolute().parent / "bin" / "squeue"
    program.parent.mkdir(exist_ok=True)
    program.write_text(SQUEUE.format(body=body))
    program.chmod(0o755)


def config(seed: int, **more: Any) -> dict[str, Any]:
    return {
        **{"algorithm": "bc", "label": None, "task": "cartpole", "trajectories": 1, "seed": seed, "iterations": 10},
        **{"references": {"expert": 100.0, "random": 0.0}},
        **more,
    }


def run(seed: int) -> str:
    return f"bc/cartpole/n1/seed{seed}"


def states(out: Path) -> dict[int, str]:
    return {one.seed: one.state for one in status.survey(out).runs}


def test_every_state(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunRecord(out / run(0), config(0)) as record:
        record.finish({"mean": 80.0, "normalised": 0.8})
    with RunRecord(out / run(1), config(1)) as record:
        record.fail("Traceback ...\nValueError: no")
    RunRecord(out / run(2), config(2)).close()
    RunRecord(out / run(3), config(3)).close()
    (out / run(3) / "heartbeat").write_text("{}")
    os.utime(out / run(3) / "heartbeat", (0, 0))
    launch = write_launch(out, "old", "local", [[(run(seed), 1.0) for seed in range(6)]])
    running = RunRecord(out / run(4), config(4))
    running.progress.append([{"iteration": 4, "env_steps": 40, "wall_s": 20.0}])
    running.evaluations.append([{"iteration": 4, "return": value} for value in (20.0, 40.0)])
    with (out / run(4) / "progress.csv").open("a") as stream:
        stream.write("5,50,2")  # being written just now
    (one,) = (one for one in status.survey(out).runs if one.seed == 4)
    assert (one.state, one.score, one.mean_return, one.fraction, one.left_s) == ("running", 0.3, 30.0, 0.4, 30.0)
    assert states(out) == {0: "done", 1: "failed", 2: "stopped", 3: "lost", 4: "running", 5: "never ran"}
    with Lock(launch.folder / "alive", "it"):
        os.utime(launch.folder / "launch.json", (0, 0))
        assert states(out) == {0: "done", 1: "failed", 2: "waiting", 3: "waiting", 4: "running", 5: "waiting"}
    assert cli.main(["status"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(
        "6 runs in runs: 1 done, 1 running, 1 failed, 1 lost, 1 stopped, 1 never ran; about 30 s left\n"
    )
    assert "failed: runs/bc/cartpole/n1/seed1: ValueError: no\n" in shown
    assert "lost: runs/bc/cartpole/n1/seed3\n" in shown
    (row,) = (line.split() for line in shown.splitlines() if line.strip().startswith("cartpole"))
    assert row == ["cartpole", "1", "bc", "1", "1", "1", "1", "1", "1", "0.80", "40%", "0.30", "30", "s"]
    assert cli.main(["status", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["counts"]["lost"] == 1
    assert content["runs"][1]["error"] == "ValueError: no"
    running.close()


def test_what_a_queue_holds_waits_and_what_it_forgot_never_ran(out: Path) -> None:
    write_launch(out, "bench-1", "slurm", [[(run(0), 1.0), (run(1), 1.0)], [(run(2), 1.0)], [(run(3), 1.0)]])
    squeue(out, 'echo "bench-1 0"; echo "bench-1 2"')
    assert states(out) == {0: "waiting", 1: "waiting", 2: "never ran", 3: "waiting"}
    squeue(out, 'echo "bench-1 N/A"')
    assert states(out) == {0: "waiting", 1: "waiting", 2: "never ran", 3: "never ran"}
    squeue(out, "exit 0")
    assert set(states(out).values()) == {"never ran"}


@pytest.mark.parametrize("how", ["absent", "refuses", "hangs"])
def test_without_an_answer_from_slurm_the_records_tell(
    out: Path, how: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(launches, "ANSWER_S", 0.2)
    write_launch(out, "bench-1", "slurm", [[(run(0), 1.0), (run(1), 1.0)], [(run(2), 1.0)], [(run(3), 1.0)]])
    if how != "absent":
        squeue(out, {"refuses": "echo no >&2; exit 1", "hangs": "exec /bin/sleep 5"}[how])
    RunRecord(out / run(0), config(0)).close()  # its job has been at work, and is not
    with RunRecord(out / run(2), config(2)):
        assert states(out) == {0: "stopped", 1: "never ran", 2: "running", 3: "waiting"}
        assert cli.main(["status"]) == 0
    assert "SLURM does not answer here: what waits may have been cancelled" in capsys.readouterr().out


def test_what_failed_before_a_launch_waits_and_what_failed_in_it_has_failed(out: Path) -> None:
    with RunRecord(out / run(0), config(0)) as record:
        record.fail("before")
    os.utime(out / run(0) / "error.txt", (time.time() - 100,) * 2)
    write_launch(out, "bench-1", "slurm", [[(run(0), 1.0), (run(1), 1.0)]])
    squeue(out, 'echo "bench-1 0"')
    assert states(out) == {0: "waiting", 1: "waiting"}
    with RunRecord(out / run(0), config(0)) as record:
        record.fail("again")
    assert states(out) == {0: "failed", 1: "waiting"}


def test_a_local_launch_is_remembered_while_something_of_it_is_undone(out: Path) -> None:
    with local_launch(out, [(run(0), 1.0), (run(1), None)]):
        assert states(out) == {0: "waiting", 1: "waiting"}
        with RunRecord(out / run(0), config(0)) as record:
            record.finish({"mean": 1.0, "normalised": None})
    assert states(out) == {0: "done", 1: "never ran"}
    with local_launch(out, [(run(1), 1.0)]):
        assert len(read_launches(out)) == 1
        with RunRecord(out / run(1), config(1)) as record:
            record.finish({"mean": 1.0, "normalised": None})
    assert read_launches(out) == []
    assert not (out / "launches").exists()


def test_watching_ends_with_the_last_run(out: Path, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    record = RunRecord(out / run(0), config(0))

    def finish(_: float) -> None:
        record.finish({"mean": 1.0, "normalised": 0.01})
        record.close()

    monkeypatch.setattr("bench.cli_status.time.sleep", finish)
    assert cli.main(["status", "--watch"]) == 0
    assert capsys.readouterr().out == "1 runs in runs: 1 running\n1 runs in runs: 1 done\n"


def test_a_damaged_record_is_named_and_the_others_are_told(out: Path) -> None:
    RunRecord(out / run(0), config(0)).close()
    RunRecord(out / run(1), config(1)).close()
    (out / run(0) / "config.json").write_text("{")
    assert states(out) == {0: "failed", 1: "stopped"}
    assert state(out / run(1)) == "cut short"
    assert status.survey(out).runs[0].error == "config.json is damaged"


def test_a_folder_that_is_no_run_hides_no_others(out: Path) -> None:
    RunRecord(out / run(1), config(1)).close()
    (out / "foo").mkdir()
    (out / "foo" / "config.json").write_text("{}")
    found = {one.algorithm: one.state for one in status.survey(out).runs}
    assert found["foo"] == "failed"
    assert len(found) == 2
