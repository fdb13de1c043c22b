"""One structure for all results, wherever they come from: run folders, the committed ``results/``, or a tidy CSV.

What is missing, doubled, unfinished, mixed or corrupt is listed in `Results.problems` and never averaged in silence.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bench.seeding import TUNING_SEEDS
from bench.tasks import TASKS

RESULTS = Path(__file__).parents[1] / "results"

# The methods of this project, in the order of their columns, with their titles; others follow in alphabetical order.
METHODS = {
    "bc": "BC",
    "gail-reinforce": "GAIL-REINFORCE",
    "gail-trpo": "GAIL-TRPO",
    "mgail-basic": "MGAIL basic",
    "mgail-advanced": "MGAIL advanced",
}
# Labels of runs whose reward tells nothing of the demonstrations: how much of a score needs no expert. With titles.
CONTROLS = {
    "frozen": "random D, frozen",
    "plus": "constant reward +1",
    "minus": "constant reward −1",
}
FINAL_EPISODES = 50  # the protocol's; a run of fewer (a smoke run) proves the plumbing and is no result
ENTRY = ["algorithm", "task", "trajectories"]
RUN = [*ENTRY, "seed"]
EPISODES = [*RUN, "episode", "return", "length", "terminated"]
RUNS = [
    *RUN,
    *("label", "iterations", "env_steps", "wall_s", "core_s", "n_episodes", "expert", "expert_deterministic", "random"),
    *("demonstrations", "pairs", "settings", "commit"),
]
CURVES = [*RUN, "iteration", "env_steps", "mean", "std", "n"]

Entry = tuple[str, str, int]


@dataclass(frozen=True)
class Problem:
    """Something that is not in the averages, or is and should be known.

    Attributes:
        kind: missing, duplicate, unfinished, failed, corrupt, mixed, unequal or tuning.
        where: the entry or folder.
        what: one line.
        entry: algorithm, task and trajectories of the entry that it is about, where it is about one.
    """

    kind: str
    where: str
    what: str
    entry: Entry | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.what}"


@dataclass(frozen=True)
class Results:
    """All that is known of a set of finished runs.

    Attributes:
        source: where they come from, for people.
        episodes: one row per final evaluation episode (`EPISODES`).
        runs: one row per run (`RUNS`); what a source does not tell is NaN or None.
        curves: one row per evaluation of a run (`CURVES`).
        settings: resolved settings by the digest that `runs` names.
        provenance: what is known of the making: versions and such.
        problems: what is left out, and what should be known.
        foreign: whether algorithms and tasks are somebody else's (a tidy CSV).
    """

    source: str
    episodes: pd.DataFrame
    runs: pd.DataFrame
    curves: pd.DataFrame
    settings: dict[str, dict[str, Any]] = field(default_factory=dict)
    provenance: dict[str, Any] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    foreign: bool = False

    @cached_property
    def scores(self) -> pd.DataFrame:
        """One row per run: its mean return, and (R - random) / (expert - random) where both are known.

        Columns: algorithm, task, trajectories, seed, mean, normalised, normalised_deterministic.
        """
        means = self.episodes.groupby(RUN, sort=False)["return"].mean().rename("mean").reset_index()
        scores = self.runs[[*RUN, "expert", "expert_deterministic", "random"]].merge(means, on=RUN, how="inner")
        for column, reference in (("normalised", "expert"), ("normalised_deterministic", "expert_deterministic")):
            span = (scores[reference] - scores["random"]).replace(0.0, np.nan)
            scores[column] = (scores["mean"] - scores["random"]) / span
        return scores[[*RUN, "mean", "normalised", "normalised_deterministic"]]

    @property
    def caution(self) -> str:
        """What every heading has to say of runs that are no results, if there are any: "", or words in brackets."""
        if self.foreign:
            return ""
        words = []
        for kind, found in no_results(self.runs).items():
            if found.any():
                words.append(f"{'all' if found.all() else f'{found.sum()} of {len(found)}'} {kind} runs")
        return f" ({', '.join(words)}, which are no results)" if words else ""

    @property
    def algorithms(self) -> list[str]:
        """Algorithms in the order of table columns."""
        return sorted(self.runs["algorithm"].unique(), key=algorithm_order)

    @property
    def cells(self) -> list[tuple[str, int]]:
        """Pairs of task and number of trajectories with at least one run, in the order of table rows."""
        pairs = self.runs[["task", "trajectories"]].drop_duplicates()
        return sorted(((task, int(n)) for task, n in pairs.itertuples(index=False)), key=cell_order)


def no_results(runs: pd.DataFrame) -> dict[str, pd.Series]:
    """Return which runs prove something else than a table's entry: smoke runs, and runs of seeds for tuning."""
    return {"smoke": runs["n_episodes"] < FINAL_EPISODES, "tuning": runs["seed"] >= TUNING_SEEDS}


def title(algorithm: str) -> str:
    """Return the name under which an algorithm is printed; a label follows its method's."""
    if algorithm in METHODS:
        return METHODS[algorithm]
    method, plus, label = algorithm.partition("+")
    if plus and method in METHODS:
        return f"{METHODS[method]}, {CONTROLS.get(label, label)}"
    return {"gail": "GAIL", "mgail": "MGAIL"}.get(algorithm, algorithm)


def control_of(algorithm: str) -> str | None:
    """Return the label of a bias control, or None for a method that learns from demonstrations."""
    label = algorithm.partition("+")[2]
    return label if label in CONTROLS else None


def algorithm_order(name: str) -> tuple[int, str]:
    """Sort key of algorithms: ours first, in their own order; a labelled variant follows its method."""
    known = list(METHODS)
    method = name.partition("+")[0]
    return (known.index(method) if method in known else len(known), name)


def cell_order(cell: tuple[str, int]) -> tuple[int, str, int]:
    """Sort key of cells: the paper's tasks first, in its order, then by number of trajectories."""
    known = list(TASKS)
    return (known.index(cell[0]) if cell[0] in known else len(known), *cell)


def entry_order(entry: Entry) -> tuple[Any, ...]:
    """Sort key of entries: by cell, then by algorithm."""
    return (cell_order(entry[1:]), algorithm_order(entry[0]))


def entry_name(algorithm: Any, task: Any, trajectories: Any, seed: Any = None) -> str:
    """Name an entry, or one of its runs, for people."""
    return f"{algorithm}, {task}, n={trajectories}" + ("" if seed is None else f", seed {seed}")


def tidy(
    source: str,
    episodes: pd.DataFrame,
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    problems: Iterable[Problem],
    **more: Any,
) -> Results:
    """Return the results in their one order, with the checks that need no more than the data themselves."""
    runs = runs.sort_values(RUN, ignore_index=True)
    return Results(
        source=source,
        episodes=episodes.sort_values([*RUN, "episode"], ignore_index=True),
        runs=runs,
        curves=curves.sort_values([*RUN, "iteration"], ignore_index=True),
        problems=tuple(sorted([*problems, *_uneven(runs)], key=_natural)),
        **more,
    )


def _natural(problem: Problem) -> tuple[Any, ...]:
    """Sort key of problems: by kind, then by place with numbers as numbers, so that n=4 stands before n=10."""
    parts = re.split(r"(\d+)", f"{problem.where}: {problem.what}")
    return (problem.kind, [(int(part), "") if part.isdecimal() else (-1, part) for part in parts])


def _uneven(runs: pd.DataFrame) -> list[Problem]:
    """List what does not match across the runs of an entry or the algorithms of a cell."""
    problems = []

    def found(kind: str, key: Any, what: str) -> None:
        problems.append(Problem(kind, entry_name(*key), what, (str(key[0]), str(key[1]), int(key[2]))))

    for (task, trajectories), cell in runs.groupby(["task", "trajectories"]):
        expected = set(cell.loc[cell["algorithm"].map(control_of).isna(), "seed"])
        for algorithm, entry in cell.groupby("algorithm"):
            key = (algorithm, task, trajectories)
            absent = sorted(expected - set(entry["seed"]))
            if absent and control_of(str(algorithm)) is None:  # a control is no method's rival: a few seeds do
                found("missing", key, f"no {seeds_text(absent)}, which other algorithms of the cell have")
            if entry["n_episodes"].nunique() > 1:
                counts = ", ".join(str(n) for n in sorted(entry["n_episodes"].unique()))
                found("unequal", key, f"runs of {counts} episodes; a seed counts as its mean")
            if entry["settings"].nunique(dropna=False) > 1:
                found("mixed", key, f"{_groups(entry, 'settings')} have different settings")
    for task, rows in runs.groupby("task"):
        if rows["demonstrations"].nunique() > 1:
            problems.append(Problem("mixed", str(task), "runs were made from different demonstration stores"))
        if len(rows[["expert", "random"]].drop_duplicates()) > 1:
            problems.append(
                Problem("mixed", str(task), "runs have different expert or random returns to be normalised by")
            )
    return problems


def _groups(entry: pd.DataFrame, column: str) -> str:
    """Name the seeds of an entry by their value in `column`: "seeds 0 1 and seeds 2 3"."""
    groups = sorted(sorted(rows["seed"]) for _, rows in entry.groupby(column, dropna=False))
    return " and ".join(map(seeds_text, groups))


def seeds_text(seeds: Iterable[int]) -> str:
    """Name seeds: "seed 3", "seeds 0 1 2"."""
    seeds = list(seeds)
    return ("seed " if len(seeds) == 1 else "seeds ") + " ".join(str(seed) for seed in seeds)
