"""The record of one run: a folder that tells what was run, how it went and how it ended. Needs no torch.

=================  ====================================================================================
``config.json``    written first: resolved settings, digest of the demonstrations, versions, commit
                   and the schema versions of the two tables, whose columns leave no room for them
``progress.csv``   one row per logged iteration
``evaluations.csv`` one row per EPISODE; the last iteration's rows are the result
``checkpoint.pt``  written aside, then renamed; gone when the run is finished
``policy.pt``      the declared policy, weights only
``result.json``    written last: its presence means finished
``error.txt``      why the run broke off
``heartbeat``      there while a process owns the run, which holds a lock on it, touches it and names its machine in it
=================  ====================================================================================

The lock is the kernel's (`flock`): it ends with its owner, however that ends. Whether another machine sees it is up to
the file system; there the heartbeat's age tells.
"""

import contextlib
import fcntl
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from bench.errors import UserError
from bench.files import CsvLog, read_json, write_bytes, write_json, writing

# A run is the same run if these agree; everything else in config.json is told, not compared.
IDENTITY = ("algorithm", "source", "task", "trajectories", "seed", "label", "settings", "protocol", "demonstrations")
TABLES = {"progress.csv": 1, "evaluations.csv": 1}  # and the versions of their schemas, which config.json states
ALIVE_S = 120.0  # another machine's heartbeat older than this, in seconds, belongs to a process that is gone
PATIENCE_S = 0.5  # for how long a lock may be somebody's who only looks whether it is held


class RunInUse(UserError):
    """Another process owns the run."""


State = Literal["finished", "failed", "running", "cut short", "missing"]


def read_config(directory: Path) -> dict[str, Any]:
    """Read a run's config.json; a `UserError` says if it, or a table it speaks for, is not what this version reads."""
    config = read_json(directory / "config.json")
    for name, schema in config.get("schemas", {}).items():  # the first records do not say: all theirs are of schema 1
        if schema != TABLES.get(name):
            raise UserError(f"{directory / name} is of schema {schema}, this version reads {TABLES.get(name, 'none')}")
    return config


def state(directory: Path) -> State:
    """Return how a run stands, judged by its files and, where it can be, by its owner's lock."""
    if (directory / "result.json").exists():
        return "finished"
    if not (directory / "config.json").exists():
        return "missing"
    if _alive(directory / "heartbeat"):
        return "running"
    return "failed" if (directory / "error.txt").exists() else "cut short"


def _alive(heartbeat: Path) -> bool:
    """Return whether the process that made the heartbeat lives; looking takes its lock for a moment, if it is free."""
    try:
        with heartbeat.open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            except OSError:
                pass  # a file system without locks
            else:
                if stream.read().decode(errors="replace") == platform.node():
                    return False
            return time.time() - os.fstat(stream.fileno()).st_mtime < ALIVE_S
    except OSError:  # there is none, or it is not ours to read
        return False


def difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """Return the first thing in which two configurations are not the same run, or None."""
    for key in IDENTITY:
        old, new = there.get(key), json.loads(json.dumps(here.get(key)))
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            part = next(k for k in [*new, *old] if old.get(k) != new.get(k))
            return f"{key}.{part} is {old.get(part)!r} there, {new.get(part)!r} here"
        return f"{key} is {old!r} there, {new!r} here"
    return None


def check_same(directory: Path, config: Mapping[str, Any]) -> None:
    """Raise a `UserError` if the folder holds a run of other settings or other demonstrations."""
    if not (directory / "config.json").exists():
        if (directory / "result.json").exists():
            raise UserError(f"{directory} holds a result without its config.json; choose another --out, or remove it")
        return
    there = read_config(directory)
    what = difference(there, config)
    if what:
        presets = there.get("preset"), config.get("preset")
        if None not in presets and presets[0] != presets[1]:  # why most settings differ, and quicker to see
            what = f"preset {presets[0]} there, {presets[1]} here; {what}"
        raise UserError(
            f"{directory} holds a run of other settings ({what}); choose another --out or --label, or remove it"
        )


class RunRecord:
    """The folder of one run, owned by this process from construction to `close`.

    Args:
        directory: the run's folder, made if missing.
        config: what is to be written to config.json, and compared if that is there already.

    Raises:
        UserError: another process owns the run, the folder holds a run of other settings, or it cannot be written.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any]):
        self.directory = directory
        self.remarks: list[str] = []
        check_same(directory, config)  # first, so that a refusal leaves no trace
        self._lock = self._own()
        try:
            check_same(directory, config)
            self.finished = (directory / "result.json").exists()
            if (directory / "config.json").exists():
                self._remark(read_config(directory), config)
            else:
                self._remove("progress.csv", "evaluations.csv", "checkpoint.pt", "policy.pt", "error.txt")
                write_json(directory / "config.json", {"schemas": TABLES, **config})
            if not self.finished:
                self._remove("error.txt")
                self.progress = CsvLog(directory / "progress.csv")
                self.evaluations = CsvLog(directory / "evaluations.csv")
        except BaseException:
            self.close()
            raise

    def _own(self) -> int:
        """Return a descriptor of the heartbeat, locked."""
        path = self.directory / "heartbeat"
        deadline = time.monotonic() + PATIENCE_S
        with writing(path):
            self.directory.mkdir(parents=True, exist_ok=True)
            while True:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(descriptor)
                    if time.monotonic() > deadline:
                        raise RunInUse(f"{self.directory} is in use by another process") from None
                    time.sleep(0.02)
                    continue
                # The last owner may have removed the file between our opening and our locking it.
                if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                    os.truncate(descriptor, 0)
                    os.write(descriptor, platform.node().encode())
                    return descriptor
                os.close(descriptor)

    def _remark(self, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
        """Note where a run goes on elsewhere than it began: worth knowing, no reason to refuse."""
        for key in ("versions", "commit", "host"):
            if not self.finished and there.get(key) != json.loads(json.dumps(here.get(key))):
                self.remarks.append(f"{self.directory} goes on with another {key} than it began with")

    def _remove(self, *names: str) -> None:
        for name in names:
            with writing(self.directory / name):
                (self.directory / name).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the run up: close the files and end the lock."""
        for name in ("progress", "evaluations"):
            if hasattr(self, name):
                getattr(self, name).close()
        if self._lock >= 0:
            with contextlib.suppress(OSError):
                (self.directory / "heartbeat").unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = -1

    def beat(self) -> None:
        """Show that the run is alive."""
        with contextlib.suppress(OSError):
            os.utime(self._lock)

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint stands, if there is one."""
        return self.directory / "checkpoint.pt"

    def positions(self) -> dict[str, int]:
        """Return how far both CSV files have come; a checkpoint holds it."""
        return {"progress": self.progress.position(), "evaluations": self.evaluations.position()}

    def cut(self, positions: Mapping[str, int]) -> None:
        """Cut both CSV files back to where they stood at a checkpoint ({} for the start)."""
        self.progress.cut(positions.get("progress", 0))
        self.evaluations.cut(positions.get("evaluations", 0))

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write the result, which declares the run finished, and remove what only an unfinished run needs."""
        self.positions()  # both files are on disk before the result is
        write_json(self.directory / "result.json", result)
        self.finished = True
        self._remove("checkpoint.pt")

    def fail(self, why: str) -> None:
        """Write why the run broke off; on a full disk there is nowhere to write to, and nothing is."""
        with contextlib.suppress(UserError):
            write_bytes(self.directory / "error.txt", why.encode())


def find_runs(directories: Sequence[Path]) -> list[Path]:
    """Return the folders of all runs at or below `directories`, sorted; a `UserError` names one that is not there."""
    found: set[Path] = set()
    for directory in directories:
        if not directory.is_dir():
            raise UserError(f"{directory} is not a folder of runs: it does not exist (bench run makes one)")
        found |= {path.parent for path in directory.rglob("config.json")}
    return sorted(found)
