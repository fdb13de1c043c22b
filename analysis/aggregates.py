"""Each method's aggregate over many cells, and how often one method's run beats another's: rows for the JSON."""

from collections.abc import Sequence

import numpy as np

from analysis.load import Results, algorithm_order, control_of
from analysis.robust import improvement, improvement_interval, iqm_interval
from analysis.statistics import POOLED, Pair, Row, in_scope, within


def aggregates(results: Results) -> list[Row]:
    """Return each algorithm's interquartile mean of normalised scores with its bootstrap interval, per pooled scope.

    Bias controls are of a few cells only: their mean over those would stand beside means over all.
    """
    scores = results.scores.dropna(subset="normalised")
    scores = scores[scores["algorithm"].map(control_of).isna()]
    rows: list[Row] = []
    for scope in POOLED:
        inside = within(scores, scope)
        for algorithm in sorted(inside["algorithm"].unique(), key=algorithm_order):
            mine = inside[inside["algorithm"] == algorithm]
            cells = [rows["normalised"].to_numpy() for _, rows in mine.groupby(["task", "trajectories"])]
            iqm, low, high = iqm_interval(cells)
            rows.append(
                {
                    "scope": scope,
                    "algorithm": algorithm,
                    "n_cells": len(cells),
                    "n_runs": len(mine),
                    "iqm": iqm,
                    "iqm_low": low,
                    "iqm_high": high,
                    "mean": float(np.mean([cell.mean() for cell in cells])),
                }
            )
    return rows


def improvements(results: Results, pairs: Sequence[Pair]) -> list[Row]:
    """Return the probability that a run of a beats a run of b on the same cell, per pair and pooled scope."""
    scores = results.scores
    by_entry = {key: rows["mean"].to_numpy() for key, rows in scores.groupby(["algorithm", "task", "trajectories"])}
    rows: list[Row] = []
    for a, b in pairs:
        cells = {
            cell: improvement(by_entry[a, *cell], by_entry[b, *cell], i)
            for i, cell in enumerate(results.cells)
            if (a, *cell) in by_entry and (b, *cell) in by_entry
        }
        for scope in POOLED:
            chosen = [outcome for (task, _), outcome in cells.items() if in_scope(task, scope)]
            if chosen:
                probability, low, high = improvement_interval(chosen)
                row = {"scope": scope, "a": a, "b": b, "n_cells": len(chosen)}
                rows.append(row | {"probability": probability, "low": low, "high": high})
    return rows
