"""How long a grid will take, from what runs took before: those in the output folder, else the published ones."""

import csv
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from bench.config import PROTOCOL, RunConfig
from bench.errors import UserError
from bench.files import read_json
from bench.record import find_runs, named
from slurm.grid import cost

RESULTS = Path(__file__).parent.parent / "results" / "runs.csv"

Speed = dict[tuple[str, str], float]
"""{(method, task): core seconds of one iteration, evaluations included}."""


def measured(out: Path, results: Path = RESULTS) -> Speed:
    """Return the speed of every (method, task) that was measured below `out`, else as published; medians over runs.

    Smoke runs, evaluated on fewer episodes, measure something else and are left out.
    """
    published: dict[tuple[str, str], list[float]] = {}
    own: dict[tuple[str, str], list[float]] = {}
    if results.exists():
        with results.open(newline="") as stream:
            for row in csv.DictReader(stream):
                per_iteration = float(row["core_s"]) / int(row["iterations"])
                published.setdefault((row["algorithm"], row["task"]), []).append(per_iteration)
    for directory in find_runs([out]) if out.is_dir() else ():
        if not (directory / "result.json").exists():
            continue
        try:
            config, result = read_json(directory / "config.json"), read_json(directory / "result.json")
            if config["protocol"]["final"] == PROTOCOL.final:
                per_iteration = float(result["core_s"]) / int(result["iterations"])
                own.setdefault((named(config), config["task"]), []).append(per_iteration)
        except (UserError, KeyError, TypeError):
            continue  # a forecast is no place to complain about a damaged record
    return {key: median(values) for key, values in (published | own).items()}


def seconds(config: RunConfig, iterations: int, speed: Speed) -> float | None:
    """Return a run's core seconds as far as they can be told, or None where nothing like it was measured."""
    if config.preset == "smoke":
        return 1.5  # what the preset promises
    per_iteration = speed.get((config.name, config.task), speed.get((config.method, config.task)))
    return None if per_iteration is None else per_iteration * iterations


def estimates(forecasts: Iterable[tuple[RunConfig, float | None]]) -> list[float]:
    """Return a number for every run: its forecast, or a guess on the scale of those that have one."""
    pairs = list(forecasts)
    known = [(cost(config), value) for config, value in pairs if value is not None]
    scale = sum(value for _, value in known) / sum(guess for guess, _ in known) if known else 1.0
    return [scale * cost(config) if value is None else value for config, value in pairs]


def makespan(durations: Iterable[float], workers: int) -> float:
    """Return the wall time of runs that are begun in this order, each when one of so many workers is free."""
    ends = [0.0] * workers
    for duration in durations:
        ends[ends.index(min(ends))] += duration
    return max(ends)
