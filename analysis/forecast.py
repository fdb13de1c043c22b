"""What the entries that were not run will cost: from runs of the same method on the same task, else by a guess."""

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from analysis import load
from analysis.load import Results, no_results
from bench.costs import relative_cost
from bench.tasks import TASKS

SEEDS = 11  # of the preset `full`: what a forecast is for

Costs = Mapping[tuple[str, str], float]
"""{(algorithm, task): core seconds of one run}."""


@dataclass(frozen=True)
class Forecast:
    """What an entry of `SEEDS` runs will take.

    Attributes:
        core_s: core seconds of all its runs together.
        basis: ``measured``: the same method on the same task was; ``guessed``: other tasks or methods were.
    """

    core_s: float
    basis: str


def measured(results: Results) -> Costs:
    """Return the mean cost of a run for every method and task among `results`, else among the committed ones."""
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    bad = no_results(results.runs)
    full = results.runs[~(bad["smoke"] | bad["tuning"]) & results.runs["core_s"].notna()]  # others cost something else
    for algorithm, task, core_s in full[["algorithm", "task", "core_s"]].itertuples(index=False):
        costs[str(algorithm), str(task)].append(float(core_s))
    return _committed(load.RESULTS / "runs.csv") | {key: fmean(values) for key, values in costs.items()}


def _committed(path: Path) -> dict[tuple[str, str], float]:
    costs: dict[tuple[str, str], list[float]] = defaultdict(list)
    if path.is_file():
        with path.open(newline="") as stream:
            for row in csv.DictReader(stream):
                costs[row["algorithm"], row["task"]].append(float(row["core_s"]))
    return {key: fmean(values) for key, values in costs.items()}


def forecast(algorithm: str, task: str, costs: Costs) -> Forecast | None:
    """Return what an entry will cost, or None if nothing was measured at all.

    A guess scales the relative cost of method and task by what runs of the task's own family took, of the same method
    if there are any, else of all methods.
    """
    if (algorithm, task) in costs:
        return Forecast(SEEDS * costs[algorithm, task], "measured")
    scales = {key: cost / relative_cost(*key) for key, cost in costs.items() if key[1] in TASKS}
    family = {key: scale for key, scale in scales.items() if TASKS[key[1]].family == TASKS[task].family}
    same = {key: scale for key, scale in family.items() if key[0] == algorithm}
    for group in (same, family, scales):
        if group:
            return Forecast(SEEDS * median(group.values()) * relative_cost(algorithm, task), "guessed")
    return None
