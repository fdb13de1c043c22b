"""The lines and points of the report's charts: one row each, means over seeds with their bootstrap intervals."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis.figure5 import average
from analysis.load import ENTRY, Entry, Results, entry_order
from analysis.robust import mean_interval
from analysis.statistics import Row


def learning_curves(results: Results) -> list[Row]:
    """Return one row per entry with curves: the seeds' mean return at their evaluations, and its 95 % interval.

    Where the seeds of an entry were evaluated at different steps, they are read off straight lines between their own
    evaluations, at those of the seed that ends first. Of a method without interaction there is its end alone.

    Returns:
        Rows with task, algorithm, trajectories, n_seeds, env_steps, mean, low and high (lists of equal length; of one
        seed, low and high are the mean).
    """
    rows = []
    for (algorithm, task, n), runs in _entries(results.curves):
        seeds = [seed.sort_values(["env_steps", "iteration"]) for _, seed in runs.groupby("seed")]
        if not runs["env_steps"].any():
            seeds = [seed.tail(1) for seed in seeds]
        grid = min((seed["env_steps"].to_numpy(np.float64) for seed in seeds), key=lambda steps: float(steps[-1]))
        row = {"task": task, "algorithm": algorithm, "trajectories": n} | average(pd.concat(seeds), grid)
        rows.append(row | {end: row[end] or row["mean"] for end in ("low", "high")})
    return rows


def final_scores(results: Results) -> list[Row]:
    """Return one row per entry: mean and 95 % interval over seeds of the final return, raw and normalised.

    Returns:
        Rows with task, algorithm, trajectories, n_seeds, and per scale (``return``, ``score``) the mean, ``_low`` and
        ``_high``; None for an unknown score; of one seed, low and high are the mean.
    """
    rows = []
    for (algorithm, task, n), runs in _entries(results.scores):
        row: Row = {"task": task, "algorithm": algorithm, "trajectories": n, "n_seeds": len(runs)}
        for name, column in (("return", "mean"), ("score", "normalised")):
            values = runs[column].to_numpy(np.float64)
            mean = float(values.mean()) if np.isfinite(values).all() else None
            row |= {name: mean, f"{name}_low": mean, f"{name}_high": mean}
            ends = mean_interval(values[:, None])
            if mean is not None and ends[0] is not None:
                row |= {f"{name}_low": float(ends[0][0]), f"{name}_high": float(ends[1][0])}
        rows.append(row)
    return rows


def references(results: Results) -> dict[str, dict[str, float]]:
    """Return the (stochastic) expert's and the random policy's return per task, where both are known."""
    means = results.runs.groupby("task")[["expert", "random"]].mean().astype(float).dropna().reset_index()
    return {str(task): {"expert": expert, "random": rand} for task, expert, rand in means.itertuples(index=False)}


def _entries(table: pd.DataFrame) -> Iterator[tuple[Entry, pd.DataFrame]]:
    """Yield the rows of each entry with its key (algorithm, task, trajectories), in table order."""
    groups: list[tuple[Any, pd.DataFrame]] = list(table.groupby(ENTRY))
    for (algorithm, task, n), rows in sorted(groups, key=lambda group: entry_order(group[0])):
        yield (str(algorithm), str(task), int(n)), rows
