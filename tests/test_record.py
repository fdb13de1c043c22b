"""The run record: written in order, never half, owned by one process, continued only as what it was."""

import contextlib
import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.errors import UserError
from bench.files import CsvLog, read_json, write_bytes, write_json
from bench.lock import InUse
from bench.record import TABLES, RunRecord, find_runs, read_config, state

CONFIG = {
    "algorithm": "bc",
    "source": None,
    "task": "cartpole",
    "trajectories": 1,
    "seed": 0,
    "label": None,
    "settings": {"iterations": 3, "hidden": [100, 100]},
    "protocol": {"final": 50},
    "demonstrations": {"id": None, "digest": "ab", "offsets": {"0": 2}, "pairs": 20},
    "versions": {"torch": "1"},
    "commit": "c",
    "host": {"name": "h"},
}
RESULT = {"mean": 1.0}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CsvLog]:
    with contextlib.closing(CsvLog(tmp_path / "x.csv")) as one:
        yield one


def test_config_comes_first_and_result_last(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert state(run) == "missing"
    with RunRecord(run, CONFIG) as record:
        assert read_json(run / "config.json") == {"schema": 1, "schemas": TABLES, **CONFIG}
        assert state(run) == "running"
        record.progress.append([{"iteration": 1, "loss": 0.5}])
        write_bytes(record.checkpoint, b"x")
        record.finish(RESULT)
    assert state(run) == "finished"
    assert sorted(path.name for path in run.iterdir()) == [
        "config.json",
        "evaluations.csv",
        "progress.csv",
        "result.json",
    ]


def test_same_settings_go_on_and_a_finished_run_says_so(tmp_path: Path) -> None:
    RunRecord(tmp_path, CONFIG).close()
    assert state(tmp_path) == "cut short"
    with RunRecord(tmp_path, CONFIG) as record:
        assert not record.finished
        record.finish(RESULT)
    with RunRecord(tmp_path, CONFIG) as record:
        assert record.finished


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("settings", {"iterations": 4, "hidden": [100, 100]}, "settings.iterations is 3 there, 4 here"),
        ("seed", 1, "seed is 0 there, 1 here"),
        ("demonstrations", {**CONFIG["demonstrations"], "digest": "cd"}, "demonstrations.digest"),  # type: ignore[dict-item]
    ],
)
def test_other_settings_are_refused_without_a_trace(tmp_path: Path, key: str, value: object, words: str) -> None:
    RunRecord(tmp_path, CONFIG).close()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UserError, match=words):
        RunRecord(tmp_path, CONFIG | {key: value})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_host_is_remarked_but_not_refused(tmp_path: Path) -> None:
    RunRecord(tmp_path, CONFIG).close()
    with RunRecord(tmp_path, CONFIG | {"host": {"name": "other"}, "commit": "d"}) as record:
        assert [remark.partition(" goes on with another ")[2] for remark in record.remarks] == [
            "commit than it began with",
            "host than it began with",
        ]
    assert read_json(tmp_path / "config.json")["commit"] == "c"


def test_tuples_and_lists_are_the_same_settings(tmp_path: Path) -> None:
    RunRecord(tmp_path, CONFIG | {"settings": {"iterations": 3, "hidden": (100, 100)}}).close()
    RunRecord(tmp_path, CONFIG).close()


def test_tables_of_an_older_record_are_read_and_those_of_a_later_one_refused(tmp_path: Path) -> None:
    RunRecord(tmp_path, CONFIG).close()
    write_json(tmp_path / "config.json", CONFIG)  # as it was before it spoke of them
    with RunRecord(tmp_path, CONFIG) as record:
        assert not record.finished
    write_json(tmp_path / "config.json", CONFIG | {"schemas": {"evaluations.csv": 2}})
    for reader in (lambda: RunRecord(tmp_path, CONFIG), lambda: read_config(tmp_path)):
        with pytest.raises(UserError, match=r"evaluations\.csv is of schema 2, this version reads 1"):
            reader()


OWNER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests_record_config import CONFIG
from bench.record import RunRecord
record = RunRecord(Path(sys.argv[1]), CONFIG)
print("mine", flush=True)
time.sleep(60)
"""


def test_two_processes_never_own_one_run_and_the_lock_ends_with_its_owner(tmp_path: Path) -> None:
    run, helper = tmp_path / "run", tmp_path / "helper"
    helper.mkdir()
    (helper / "tests_record_config.py").write_text(f"CONFIG = {CONFIG!r}")
    arguments = [sys.executable, "-c", OWNER, str(run), str(helper)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "mine\n"
        with pytest.raises(InUse, match="in use by another process"):
            RunRecord(run, CONFIG)
        assert state(run) == "running"
        old = time.time() - 1000
        os.utime(run / "heartbeat", (old, old))
        assert state(run) == "running"  # a long iteration
        os.kill(owner.pid, signal.SIGKILL)
    os.utime(run / "heartbeat")
    assert state(run) == "cut short"
    RunRecord(run, CONFIG).close()


@pytest.mark.parametrize("machine", ["another", ""])  # the first heartbeats named none
def test_where_the_lock_tells_nothing_the_heartbeat_does(tmp_path: Path, machine: str) -> None:
    RunRecord(tmp_path, CONFIG).close()
    (tmp_path / "heartbeat").write_text(machine)
    assert state(tmp_path) == "running"
    old = time.time() - 1000
    os.utime(tmp_path / "heartbeat", (old, old))
    assert state(tmp_path) == "cut short"


def test_looking_does_not_keep_an_owner_out(tmp_path: Path) -> None:
    """Somebody who looks holds the lock for a moment; a new owner waits for that long."""
    RunRecord(tmp_path, CONFIG).close()
    (tmp_path / "heartbeat").write_text("")
    with (tmp_path / "heartbeat").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with RunRecord(tmp_path, CONFIG):
            assert state(tmp_path) == "running"


def test_a_record_without_its_config_begins_anew_unless_it_holds_a_result(tmp_path: Path) -> None:
    (tmp_path / "progress.csv").write_text("left,over\n")
    with RunRecord(tmp_path, CONFIG) as record:
        assert record.progress.position() == 0
        record.finish(RESULT)
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match="without its config"):
        RunRecord(tmp_path, CONFIG)


def test_failing_leaves_the_reason_until_the_next_try(tmp_path: Path) -> None:
    with RunRecord(tmp_path, CONFIG) as record:
        record.fail("Traceback ...")
    assert state(tmp_path) == "failed"
    assert (tmp_path / "error.txt").read_text() == "Traceback ..."
    RunRecord(tmp_path, CONFIG).close()
    assert state(tmp_path) == "cut short"


def test_csv_is_cut_back_to_a_position_and_goes_on_as_if_uninterrupted(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"
    rows = [{"iteration": i, "loss": i / 3} for i in range(4)]
    with contextlib.closing(CsvLog(whole)) as log:
        log.append(rows)
    with contextlib.closing(CsvLog(cut)) as log:
        log.append(rows[:2])
        position = log.position()
        log.append([{"iteration": 9, "loss": 9.0}])
    with cut.open("a") as stream:
        stream.write("3,0.")  # a kill in the middle of a row
    with contextlib.closing(CsvLog(cut)) as log:
        log.cut(position)
        log.append(rows[2:])
        assert cut.read_bytes() == whole.read_bytes()
        log.cut(0)
        assert log.position() == 0
        with pytest.raises(UserError, match="shorter than its checkpoint"):
            log.cut(10)


def test_csv_numbers_survive_and_nan_is_an_empty_field(log: CsvLog) -> None:
    log.append([{"a": 0.1 + 0.2, "b": float("nan")}])
    with log.path.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["a"]) == 0.1 + 0.2
    assert row["b"] == ""


def test_csv_columns_are_fixed_by_the_first_row(log: CsvLog) -> None:
    log.append([{"iteration": 1, "loss": 0.5}])
    with pytest.raises(ValueError, match="has columns"):
        log.append([{"iteration": 2, "error": 0.5}])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "x.csv").symlink_to("/dev/full")
    with (
        contextlib.closing(CsvLog(tmp_path / "x.csv")) as log,
        pytest.raises(UserError, match=r"cannot write .*No space left"),
    ):
        log.append([{"iteration": 1}])
    (tmp_path / "y.json.partial").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"cannot write .*No space left"):
        write_json(tmp_path / "y.json", {})
    assert not (tmp_path / "y.json").exists()
    assert not (tmp_path / "y.json.partial").is_symlink()


def test_what_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot write .*Not a directory"):
        RunRecord(tmp_path / "file" / "run", CONFIG)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 2}', "\x00\x01"])
def test_unreadable_json_is_one_clear_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(UserError, match=r"config\.json is not"):
        RunRecord(tmp_path, CONFIG)


def test_find_runs_finds_a_run_and_all_below_a_folder(tmp_path: Path) -> None:
    for name in ("b/run", "a/run"):
        RunRecord(tmp_path / name, CONFIG).close()
    assert find_runs([tmp_path]) == [tmp_path / "a/run", tmp_path / "b/run"]
    assert find_runs([tmp_path / "a/run", tmp_path]) == find_runs([tmp_path])
    with pytest.raises(UserError, match="does not exist"):
        find_runs([tmp_path / "nowhere"])


def test_json_is_written_with_its_schema(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", RESULT)
    assert json.loads((tmp_path / "x.json").read_text()) == {"schema": 1, "mean": 1.0}
