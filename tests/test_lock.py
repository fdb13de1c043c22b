"""One owner at a time: on this machine by the kernel's lock, on others by signs of life."""

import contextlib
import errno
import fcntl
import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from bench import lock
from bench.files import CannotWrite
from bench.lock import InUse, Lock, alive, read_owner
from bench.record import RunRecord

ELSEWHERE = {"host": "n7", "machine": "n7 another boot", "pid": 1, "job": "12", "token": "x"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "heartbeat"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "SETTLE_S", 0.01)
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def elsewhere(path: Path, age: float = 0.0, **owner: Any) -> None:
    """Write what an owner on another machine would have written so many seconds ago."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(ELSEWHERE | owner))
    os.utime(path, (time.time() - age,) * 2)


def test_it_says_who_owns_it_and_is_gone_after_him(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    with Lock(path, "the run"):
        assert alive(path)
        assert (read_owner(path)["pid"], read_owner(path)["job"]) == (os.getpid(), "77")
        with pytest.raises(InUse, match=r"the run is in use by another process \(host .*, job 77\)"):
            Lock(path, "the run", patience=0.0)
    assert not path.exists()


def test_of_many_at_once_one_gets_it(path: Path) -> None:
    got: list[Lock] = []

    def take() -> None:
        with contextlib.suppress(InUse):
            got.append(Lock(path, "it", patience=0.0))

    threads = [threading.Thread(target=take) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 1
    got[0].check()
    got[0].release()


def test_an_owner_elsewhere_counts_as_alive_until_he_is_silent_for_long(path: Path) -> None:
    elsewhere(path)
    assert alive(path)
    with pytest.raises(InUse, match=r"host n7, job 12"):
        Lock(path, "it")
    elsewhere(path, age=lock.ALIVE_S + 1)
    assert not alive(path)
    with Lock(path, "it"):
        assert read_owner(path)["pid"] == os.getpid()


def test_a_requeued_job_waits_until_its_old_node_is_certainly_gone(path: Path, monkeypatch) -> None:
    monkeypatch.setattr(lock, "ALIVE_S", 1.0)
    monkeypatch.setenv("SLURM_JOB_ID", "12")
    elsewhere(path, job="13")  # another job may work for hours
    with pytest.raises(InUse):
        Lock(path, "it", patience=0.0)
    elsewhere(path, job="12")
    assert alive(path)
    Lock(path, "it", patience=0.0).release()


def test_an_owner_who_comes_back_after_a_take_over_hears_of_it(path: Path) -> None:
    first = Lock(path, "the run")
    first.check()
    elsewhere(path)
    with pytest.raises(InUse, match="the run was taken over"):
        first.check()
    first.release()
    assert read_owner(path) == ELSEWHERE  # his file is not ours to remove


def test_who_no_longer_owns_a_run_writes_nothing_more(tmp_path: Path) -> None:
    with RunRecord(tmp_path, {"algorithm": "bc"}) as record:
        record.progress.append([{"iteration": 1}])
        before = (tmp_path / "progress.csv").read_bytes()
        elsewhere(tmp_path / "heartbeat")
        for write in (
            lambda: record.progress.append([{"iteration": 2}]),
            lambda: record.evaluations.append([{"iteration": 2}]),
            lambda: record.finish({}),
            record.positions,
        ):
            with pytest.raises(InUse):
                write()
        record.fail("it was taken over")
    assert (tmp_path / "progress.csv").read_bytes() == before
    assert not {"error.txt", "result.json"} & {path.name for path in tmp_path.iterdir()}


def test_of_two_machines_that_take_over_at_once_the_last_gets_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere(path, age=lock.ALIVE_S + 1)
    monkeypatch.setattr(time, "sleep", lambda seconds: elsewhere(path, host="n8"))  # meanwhile
    with pytest.raises(InUse, match="taken over"):
        Lock(path, "it")


def test_a_lock_that_a_server_keeps_for_a_dead_machine_does_not_outlive_its_owner(path: Path) -> None:
    elsewhere(path)
    with path.open() as ghost:
        fcntl.flock(ghost, fcntl.LOCK_EX)
        assert alive(path)
        with pytest.raises(InUse):
            Lock(path, "it", patience=0.0)
        elsewhere(path, age=lock.ALIVE_S + 1)
        assert not alive(path)
        with Lock(path, "it"):
            assert alive(path)
            with pytest.raises(InUse):
                Lock(path, "it", patience=0.0)
    assert list(path.parent.iterdir()) == []


def test_the_owner_gives_signs_of_life_by_himself(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "BEAT_S", 0.01)
    with Lock(path, "it"):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 30
        while path.stat().st_mtime < 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_without_locks_in_the_file_system_signs_of_life_decide(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with Lock(path, "it"):
        assert alive(path)
        with pytest.raises(InUse):
            Lock(path, "it")
        os.utime(path, (0, 0))
        assert not alive(path)
        Lock(path, "it").release()


def test_a_full_disk_leaves_no_lock_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(lock.os, "pwrite", full)
        with pytest.raises(CannotWrite, match="No space left"):
            Lock(path, "it")
    Lock(path, "it").release()
    assert not path.exists()
