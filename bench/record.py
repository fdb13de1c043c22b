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
``wandb.json``     where the run is mirrored, and of what content (see `bench.tracking`)
``heartbeat``      there while a process owns the run, which holds a lock on it, touches it and names its machine in it
=================  ====================================================================================

The heartbeat is a `bench.lock.Lock`: it does not outlive its owner, on whatever machine.
"""

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from bench.errors import UserError
from bench.files import CsvLog, read_json, write_bytes, write_json, writing
from bench.lock import InUse, Lock, alive

# A run is the same run if these agree; everything else in config.json is told, not compared.
IDENTITY = ("algorithm", "source", "task", "trajectories", "seed", "label", "settings", "protocol", "demonstrations")
TABLES = {"progress.csv": 1, "evaluations.csv": 1}  # and the versions of their schemas, which config.json states

SWEEPS = "sweeps"  # folder of all sweeps, below that of all runs

State = Literal["finished", "failed", "running", "cut short", "missing"]


def read_config(directory: Path) -> dict[str, Any]:
    """Read a run's config.json; a `UserError` says if it, or a table it speaks for, is not what this version reads."""
    config = read_json(directory / "config.json")
    for name, schema in config.get("schemas", {}).items():  # the first records do not say: all theirs are of schema 1
        if schema != TABLES.get(name):
            raise UserError(f"{directory / name} is of schema {schema}, this version reads {TABLES.get(name, 'none')}")
    return config


def named(config: Mapping[str, Any]) -> str:
    """Return the name under which a config.json's run stands in tables: ``<algorithm>`` or ``<algorithm>+<label>``."""
    label = config.get("label")
    return f"{config['algorithm']}+{label}" if label else str(config["algorithm"])


def normalise(value: float, expert: float | None, rand: float | None) -> float | None:
    """Return (R - R_random) / (R_expert - R_random), or None without references."""
    if expert is None or rand is None or expert == rand:
        return None
    return (value - rand) / (expert - rand)


def state(directory: Path) -> State:
    """Return how a run stands, judged by its files and, where it can be, by its owner's lock."""
    if (directory / "result.json").exists():
        return "finished"
    if not (directory / "config.json").exists():
        return "missing"
    if alive(directory / "heartbeat"):
        return "running"
    return "failed" if (directory / "error.txt").exists() else "cut short"


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
        self._lock = Lock(directory / "heartbeat", str(directory))
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
                self.progress = CsvLog(directory / "progress.csv", self._lock.check)
                self.evaluations = CsvLog(directory / "evaluations.csv", self._lock.check)
        except BaseException:
            self.close()
            raise

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
        self._lock.release()

    @property
    def checkpoint(self) -> Path:
        """Where the checkpoint stands, if there is one."""
        return self.directory / "checkpoint.pt"

    def positions(self) -> dict[str, int]:
        """Return how far both CSV files have come; a checkpoint holds it. `InUse` says that they are ours no more."""
        self._lock.check()
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
        _clear(self.directory)

    def fail(self, why: str) -> None:
        """Write why the run broke off; on a full disk there is nowhere to write to, and nothing is."""
        with contextlib.suppress(UserError):
            self._lock.check()
            write_bytes(self.directory / "error.txt", why.encode())


def tidy(directory: Path) -> None:
    """Remove what a kill right after the result was written has left behind in a finished run."""
    left = {"checkpoint.pt", "error.txt", "heartbeat"}
    if any(path.name in left or path.suffix == ".partial" for path in directory.iterdir()):
        with contextlib.suppress(InUse), Lock(directory / "heartbeat", str(directory)):
            _clear(directory)


def _clear(directory: Path) -> None:
    """Remove what only an unfinished run needs."""
    for path in (directory / "checkpoint.pt", directory / "error.txt", *directory.glob("*.partial")):
        with writing(path):
            path.unlink(missing_ok=True)


def find_runs(directories: Sequence[Path]) -> list[Path]:
    """Return the folders of all runs at or below `directories`, sorted; a `UserError` names one that is not there.

    The trials of sweeps, below a folder ``sweeps``, are none of a table's runs: they are found only from there on.
    """
    found: set[Path] = set()
    for directory in directories:
        if not directory.is_dir():
            raise UserError(f"{directory} is not a folder of runs: it does not exist (bench run makes one)")
        runs = (path.parent for path in directory.rglob("config.json"))
        found |= {run for run in runs if SWEEPS not in run.relative_to(directory).parts}
    return sorted(found)
