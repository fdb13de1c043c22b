"""How the runs below a folder stand, from their records, their heartbeats and what was launched. Needs no torch."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.errors import UserError
from bench.lock import whereabouts
from bench.record import find_runs, named, normalise, state
from slurm.launches import Launch, Queue, failed_since, queue, read_launches

State = Literal["done", "running", "waiting", "failed", "lost", "stopped", "never ran"]
STATES: tuple[State, ...] = ("done", "running", "waiting", "failed", "lost", "stopped", "never ran")
"""lost: its process is gone without a word; stopped: it was told to go, and left a checkpoint; never ran: it was
launched, but its launch is over."""

TAIL = 8192  # bytes at the end of a table, which hold its last iteration


@dataclass(frozen=True)
class Standing:
    """How one run stands.

    Attributes:
        run: its folder.
        algorithm: with its label.
        task: of `bench.tasks`.
        trajectories: of the expert.
        seed: of the run.
        state: one of `STATES`.
        score: normalised return, of the latest evaluation where the run is not done; None without references.
        mean_return: the same, not normalised.
        fraction: of the iterations done.
        left_s: seconds left if it is running, by its speed so far; or its forecast if it waits.
        error: the last line of its error.txt, if it failed.
        where: host and job of a running one.
    """

    run: Path
    algorithm: str
    task: str
    trajectories: int
    seed: int
    state: State
    score: float | None = None
    mean_return: float | None = None
    fraction: float | None = None
    left_s: float | None = None
    error: str | None = None
    where: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain values."""
        return self.__dict__ | {"run": str(self.run)}


@dataclass(frozen=True)
class Survey:
    """How all runs stand.

    Attributes:
        runs: by task, size, algorithm and seed.
        left_s: seconds until the last one is done if as many cores as now go on working, or None.
        unsure: whether SLURM, which holds runs of these, does not answer here.
    """

    runs: tuple[Standing, ...]
    left_s: float | None
    unsure: bool

    def counts(self) -> dict[State, int]:
        """Return how many runs are in which state, those that are none left out."""
        states = [one.state for one in self.runs]
        return {name: states.count(name) for name in STATES if name in states}


def survey(directory: Path) -> Survey:
    """Look at all runs at or below `directory`; a `UserError` says that there are none."""
    found = find_runs([directory])
    launches = read_launches(directory)
    open_ones = [launch for launch in launches if any(not _done(directory / run) for run in launch.runs)]
    queued = queue(open_ones)
    waiting, never = _launched(directory, open_ones, queued)
    runs = [_standing(run, waiting) for run in found]
    there = set(found)
    runs += [Standing(run, *_named(run), "waiting", left_s=waiting[run]) for run in waiting if run not in there]
    runs += [Standing(run, *_named(run), "never ran") for run in never if run not in there]
    if not runs:
        raise UserError(f"{directory} holds no runs")
    runs.sort(key=lambda one: (one.task, one.trajectories, one.algorithm, one.seed))
    return Survey(tuple(runs), _left(runs), queued is None)


def _done(run: Path) -> bool:
    return (run / "result.json").exists()


def _launched(
    out: Path, launches: Iterable[Launch], queued: Queue | None
) -> tuple[dict[Path, float | None], set[Path]]:
    """Return the runs that a launch will still begin, with their forecasts, and those that it will not.

    Where SLURM cannot be asked, a job that has begun a run is taken to be over unless one of its runs is at work.
    """
    waiting: dict[Path, float | None] = {}
    never: set[Path] = set()
    for launch in launches:
        for index, job in enumerate(launch.jobs):
            if queued is not None:
                comes = index in queued.get(launch.name, ())
            else:
                states = {state(out / run) for run in job}
                comes = "running" in states or states == {"missing"}
            for run in job:
                if comes and not failed_since(launch.folder, out / run):
                    waiting[out / run] = launch.seconds[run]
                else:
                    never.add(out / run)
    return waiting, never - waiting.keys()


def _standing(run: Path, waiting: Mapping[Path, float | None]) -> Standing:
    """Return how a run stands that has a record."""
    try:
        config = json.loads((run / "config.json").read_bytes())
        what = (named(config), config["task"], config["trajectories"], config["seed"])
    except (OSError, ValueError, KeyError, TypeError):
        return Standing(run, *_named(run), "failed", error="config.json is damaged")
    how = state(run)
    if how == "finished":
        try:
            result = json.loads((run / "result.json").read_bytes())
            return Standing(run, *what, "done", result["normalised"], result["mean"], 1.0)
        except (OSError, ValueError, KeyError, TypeError):
            return Standing(run, *what, "failed", error="result.json is damaged")
    if how == "running":
        return _running(run, what, config)
    if run in waiting:
        return Standing(run, *what, "waiting", left_s=waiting[run])
    if how == "failed":
        lines = (run / "error.txt").read_text(errors="replace").strip().splitlines()
        return Standing(run, *what, "failed", error=lines[-1] if lines else "")
    return Standing(run, *what, "lost" if (run / "heartbeat").exists() else "stopped")


def _running(run: Path, what: tuple[str, str, int, int], config: Mapping[str, Any]) -> Standing:
    progress, evaluations = _tail(run / "progress.csv"), _tail(run / "evaluations.csv")
    fraction = left = score = mean = None
    try:
        if progress:
            fraction = int(progress[-1]["iteration"]) / config["iterations"]
            left = float(progress[-1]["wall_s"]) * (1 / fraction - 1)
        if evaluations:
            last = evaluations[-1]["iteration"]
            returns = [float(row["return"]) for row in evaluations if row["iteration"] == last]
            mean = sum(returns) / len(returns)
            score = normalise(mean, config["references"]["expert"], config["references"]["random"])
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        pass  # a table that is being cut or written just now
    return Standing(run, *what, "running", score, mean, fraction, left, where=whereabouts(run / "heartbeat") or None)


def _tail(table: Path) -> list[dict[str, str]]:
    """Return the last whole rows of a table."""
    try:
        with table.open("rb") as stream:
            header = stream.readline().decode()
            begin = stream.tell()
            size = stream.seek(0, 2)
            stream.seek(max(begin, size - TAIL))
            text = stream.read().decode()
    except (OSError, UnicodeDecodeError):
        return []
    lines = text.splitlines(keepends=True)[1 if size - TAIL > begin else 0 :]
    return list(csv.DictReader(io.StringIO(header + "".join(line for line in lines if line.endswith("\n")))))


def _named(run: Path) -> tuple[str, str, int, int]:
    """Return what a run's folder says that it is; its name alone where it stands nowhere that a run would."""
    try:
        algorithm, task, size, seed = run.parts[-4:]
        return algorithm, task, int(size.removeprefix("n")), int(seed.removeprefix("seed"))
    except ValueError:
        return run.name, "?", 0, 0


def _left(runs: Sequence[Standing]) -> float | None:
    """Return the seconds until all that runs or waits is done, if that can be told."""
    todo = [one for one in runs if one.state in ("running", "waiting")]
    cores = sum(one.state == "running" for one in todo)
    known = [one.left_s for one in todo if one.left_s is not None]
    if not cores or len(known) < len(todo):
        return None
    return max(sum(known) / cores, *known)
