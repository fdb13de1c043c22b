"""How long a grid will take, from what runs took before: those in the output folder, else the published ones."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median

from bench.config import RunConfig
from bench.errors import UserError
from bench.record import find_runs, read_json

RESULTS = Path(__file__).parent.parent / "results" / "runs.csv"

Key = tuple[str, str]  # (method, task)


def measured(out: Path, results: Path = RESULTS) -> dict[Key, float]:
    """Return core seconds per run by (method, task), as medians: of the runs below `out`, else of the published ones.

    Runs of the smoke preset measure something else and are left out.
    """
    published: dict[Key, list[float]] = {}
    if results.exists():
        with results.open(newline="") as stream:
            for row in csv.DictReader(stream):
                published.setdefault((row["algorithm"], row["task"]), []).append(float(row["core_s"]))
    own: dict[Key, list[float]] = {}
    for directory in find_runs([out]) if out.is_dir() else ():
        if not (directory / "result.json").exists():
            continue
        try:
            config, result = read_json(directory / "config.json"), read_json(directory / "result.json")
            if config["protocol"]["final"] >= 50:
                name = config["algorithm"] + (f"+{config['label']}" if config["label"] else "")
                own.setdefault((name, config["task"]), []).append(float(result["core_s"]))
        except (UserError, KeyError, TypeError):
            continue  # a forecast is no place to complain about a damaged record
    return {key: median(values) for key, values in (published | own).items()}


def forecast(speed: dict[Key, float]) -> Callable[[RunConfig], float | None]:
    """Return a function that forecasts a run's core seconds, or None where nothing like it was measured."""

    def seconds(config: RunConfig) -> float | None:
        if config.preset == "smoke":
            return 2.0  # what the preset promises
        if config.preset == "paper":
            return None
        return speed.get((config.name, config.task))

    return seconds


def makespan(seconds: Iterable[float], workers: int) -> float:
    """Return the wall time of runs done in this order on so many workers."""
    ends = [0.0] * workers
    for duration in seconds:
        first = ends.index(min(ends))
        ends[first] += duration
    return max(ends)
