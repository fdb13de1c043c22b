"""What was launched: which runs, in which jobs, and which of these are still to come. Needs no torch.

``<out>/launches/<name>/launch.json`` is written before anything is begun. On SLURM `name` is also the name of the jobs:
the queue is asked by it, so nothing is lost if a launch is killed between submitting and noting what was submitted. The
accounting is never asked: it may be off, and it forgets jobs that were cancelled while they were waiting.
"""

import contextlib
import secrets
import shutil
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bench.errors import UserError
from bench.files import read_json, write_json, writing
from bench.lock import Lock, alive
from bench.provenance import command

FOLDER = "launches"
ANSWER_S = 10.0  # for how long SLURM may think
PATIENCE_S = 60.0  # for how long a launch waits while another one submits

Queue = Mapping[str, set[int]]
"""{launch: its jobs that wait or work}."""


@dataclass(frozen=True)
class Launch:
    """One launch.

    Attributes:
        folder: ``<out>/launches/<name>``.
        executor: who carries it out.
        jobs: the runs of every job, as folders below `out`; a local grid is one job.
        seconds: forecast of every run's core seconds, None where there is none.
    """

    folder: Path
    executor: Literal["local", "slurm"]
    jobs: tuple[tuple[str, ...], ...]
    seconds: Mapping[str, float | None]

    @property
    def name(self) -> str:
        """The name of the launch, and on SLURM of its jobs."""
        return self.folder.name

    @property
    def runs(self) -> set[str]:
        """All runs of all jobs."""
        return {run for job in self.jobs for run in job}


def _made(launch: Path) -> float:
    """Return when a launch was made, by the file system's clock, which also dates the records."""
    return (launch / "launch.json").stat().st_mtime


def launching(out: Path) -> Lock:
    """Return the lock that one launch at a time holds while it finds out what is left to do and submits it."""
    return Lock(out / FOLDER / "lock", f"launching into {out}", PATIENCE_S)


def new_name() -> str:
    """Return a name that no other launch has."""
    return f"bench-{time.strftime('%y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def write_launch(
    out: Path, name: str, executor: Literal["local", "slurm"], jobs: Iterable[Iterable[tuple[str, float | None]]]
) -> Launch:
    """Write what is launched: for every job its runs and their forecasts."""
    listed = [list(job) for job in jobs]
    folder = out / FOLDER / name
    with writing(folder):
        folder.mkdir(parents=True)
    write_json(folder / "launch.json", {"executor": executor, "command": command(), "jobs": listed})
    return _launch(folder, executor, listed)


def _launch(
    folder: Path, executor: Literal["local", "slurm"], jobs: Sequence[Sequence[tuple[str, float | None]]]
) -> Launch:
    runs = tuple(tuple(run for run, _ in job) for job in jobs)
    return Launch(folder, executor, runs, {run: seconds for job in jobs for run, seconds in job})


def read_launches(out: Path) -> list[Launch]:
    """Return the launches into `out`, the first one first; one whose file is damaged tells nothing and is left out."""
    found: list[tuple[float, Launch]] = []
    for path in (out / FOLDER).glob("*/launch.json"):
        try:
            content = read_json(path)
            found.append((_made(path.parent), _launch(path.parent, content["executor"], content["jobs"])))
        except (UserError, OSError, KeyError, TypeError, ValueError):  # or just now forgotten, by whoever launched it
            continue
    return [launch for _, launch in sorted(found, key=lambda one: one[0])]


def queue(launches: Iterable[Launch]) -> Queue | None:
    """Return which jobs of the launches wait or work, or None where that cannot be told: SLURM does not answer here.

    A local launch works while its process lives.
    """
    found = {launch.name: {0} for launch in launches if launch.executor == "local" and alive(launch.folder / "alive")}
    names = [launch.name for launch in launches if launch.executor == "slurm"]
    if not names:
        return found
    if shutil.which("squeue") is None:
        return None
    ask = ["squeue", "--noheader", "--array", "--name", ",".join(names), "--format", "%j %K"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode:
        return None
    for line in done.stdout.splitlines():
        name, index = line.split()
        found.setdefault(name, set()).add(int(index) if index.isdigit() else 0)  # N/A: not an array
    return found


def failed_since(launch: Path, directory: Path) -> bool:
    """Return whether a run broke off after it was launched; before, it was launched to be tried again."""
    try:
        return (directory / "error.txt").stat().st_mtime >= _made(launch)
    except FileNotFoundError:
        return False


def to_come(out: Path, launches: Sequence[Launch], queued: Queue) -> set[str]:
    """Return the runs that a job which waits or works has still to do, or is doing."""
    return {
        run
        for launch in launches
        for index in queued.get(launch.name, ())
        for run in launch.jobs[index]
        if not (out / run / "result.json").exists() and not failed_since(launch.folder, out / run)
    }


@contextlib.contextmanager
def local_launch(out: Path, runs: Sequence[tuple[str, float | None]]) -> Iterator[None]:
    """Tell for the time being that this process has these runs to do, and afterwards which it left undone.

    Launches of processes that are gone are forgotten if nothing is left of them that this one does not take up.
    """
    if not runs:
        yield
        return
    launch = write_launch(out, new_name(), "local", [runs])
    with Lock(launch.folder / "alive", launch.name):
        _forget(out, launch.runs)
        yield
    _forget(out, set())


def _forget(out: Path, covered: set[str]) -> None:
    for launch in read_launches(out):
        if launch.executor == "local" and not alive(launch.folder / "alive"):
            left = launch.runs - covered
            if all((out / run / "result.json").exists() for run in left):
                shutil.rmtree(launch.folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # others are left
        (out / FOLDER).rmdir()
