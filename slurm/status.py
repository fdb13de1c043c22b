"""How the runs below a folder stand, from their records, their heartbeats and what was launched. Needs no torch."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from bench.errors import UserError
from bench.lock import read_owner
from bench.record import find_runs, state
from slurm.launches import FOLDER, Launch, Queue, failed_since, queue, read_launches

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
    runs = [_standing(run, waiting.keys()) for run in found if FOLDER not in run.relative_to(directory).parts[:1]]
    there = {one.run for one in runs}
    for names, name in ((waiting, "waiting"), (never, "never ran")):
        runs += [_absent(directory / run, name) for run in names if directory / run not in there]  # type: ignore[arg-type]
    if not runs:
        raise UserError(f"{directory} holds no runs")
    forecasts = {directory / run: seconds for run, seconds in waiting.items()}
    runs = [replace(one, left_s=forecasts.get(one.run)) if one.state == "waiting" else one for one in runs]
    runs.sort(key=lambda one: (one.task, one.trajectories, one.algorithm, one.seed))
    return Survey(tuple(runs), _left(runs), queued is None)


def _done(run: Path) -> bool:
    return (run / "result.json").exists()


def _launched(
    out: Path, launches: Iterable[Launch], queued: Queue | None
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Return the runs that a launch will still begin, and those that it will not, with their forecasts.

    Where SLURM cannot be asked, a job that has begun a run is taken to be over unless one of its runs is at work.
    """
    waiting: dict[str, float | None] = {}
    never: dict[str, float | None] = {}
    for launch in launches:
        for index, job in enumerate(launch.jobs):
            if queued is not None:
                comes = index in queued.get(launch.name, ())
            else:
                states = {state(out / run) for run in job}
                comes = "running" in states or states == {"missing"}
            for run in job:
                if comes and not failed_since(launch.folder, out / run):
                    waiting[run] = launch.seconds[run]
                    never.pop(run, None)
                elif run not in waiting:
                    never[run] = launch.seconds[run]
    return waiting, never


def _standing(run: Path, waiting: Iterable[str]) -> Standing:
    """Return how a run stands that has a record."""
    try:
        config = json.loads((run / "config.json").read_bytes())
        label = f"+{config['label']}" if config.get("label") else ""
        what = (config["algorithm"] + label, config["task"], config["trajectories"], config["seed"])
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
    if "/".join(run.parts[-4:]) in waiting:
        return Standing(run, *what, "waiting")
    if how == "failed":
        lines = (run / "error.txt").read_text(errors="replace").strip().splitlines()
        return Standing(run, *what, "failed", error=lines[-1] if lines else "")
    return Standing(run, *what, "lost" if (run / "heartbeat").exists() else "stopped")


def _running(run: Path, what: tuple[str, str, int, int], config: Mapping[str, Any]) -> Standing:
    owner = read_owner(run / "heartbeat")
    where = ", ".join(f"{key} {owner[key]}" for key in ("host", "job") if owner.get(key)) or None
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
            expert, rand = config["references"]["expert"], config["references"]["random"]
            score = None if expert is None or rand is None or expert == rand else (mean - rand) / (expert - rand)
    except (KeyError, ValueError, TypeError, ZeroDivisionError):
        pass  # a table that is being cut or written just now
    return Standing(run, *what, "running", score, mean, fraction, left, where=where)


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
    """Return what a run's folder says that it is."""
    algorithm, task, size, seed = run.parts[-4:]
    return algorithm, task, int(size.removeprefix("n")), int(seed.removeprefix("seed"))


def _absent(run: Path, name: State) -> Standing:
    return Standing(run, *_named(run), name)


def _left(runs: Sequence[Standing]) -> float | None:
    """Return the seconds until all that runs or waits is done, if that can be told."""
    todo = [one for one in runs if one.state in ("running", "waiting")]
    cores = sum(one.state == "running" for one in todo)
    known = [one.left_s for one in todo if one.left_s is not None]
    if not cores or len(known) < len(todo):
        return None
    return max(sum(known) / cores, *known)
