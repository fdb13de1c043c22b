"""The further figures: return against trajectories, return against environment steps, performance profiles.

As for Figure 5, the rows come first (they stand in the JSON, too) and are drawn afterwards.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from analysis import plotting
from analysis.figure5 import POINTS, average
from analysis.load import ENTRY, METHODS, Results, control_of
from analysis.robust import mean_interval, profile
from analysis.statistics import POOLED, Row, within
from bench.tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAMES = ("trajectories", "steps", "profiles")
DOTTED = "dotted: expert, random policy"
TAUS = np.linspace(0, 1.2, 121)


def _methods(results: Results) -> list[str]:
    """Return what is drawn: our methods without their variants, or everything that a foreign table has."""
    if results.foreign:
        return results.algorithms
    return [name for name in results.algorithms if name in METHODS]


def by_trajectories(results: Results) -> list[Row]:
    """Return a row per task and method: mean return for each number of trajectories, with its interval over seeds.

    Returns:
        Rows with task, algorithm, n_seeds (the most that any size has), trajectories, mean, low and high (lists of
        equal length; low and high hold the mean itself where there is one seed).
    """
    scores = results.scores.groupby(ENTRY)["mean"]
    entries = {(str(a), str(t), int(str(n))): means.to_numpy() for (a, t, n), means in scores}
    rows: list[Row] = []
    for task in plotting.tasks_shown(results):
        for algorithm in _methods(results):
            row: Row = {"task": task, "algorithm": algorithm, "n_seeds": 0}
            row |= {key: [] for key in ("trajectories", "mean", "low", "high")}
            for n in sorted(size for name, of, size in entries if (name, of) == (algorithm, task)):
                values = entries[algorithm, task, n]
                low, high = mean_interval(values)
                row["n_seeds"] = max(row["n_seeds"], len(values))
                row["trajectories"].append(n)
                row["mean"].append(float(values.mean()))
                row["low"].append(row["mean"][-1] if low is None else float(low))
                row["high"].append(row["mean"][-1] if high is None else float(high))
            if row["n_seeds"]:
                rows.append(row)
    return rows


def by_steps(results: Results) -> list[Row]:
    """Return a row per task and method, as in Figure 5 for all methods, at the task's smallest size with curves.

    Methods differ a hundredfold in the environment steps they take: the grid is geometric, from the first evaluation
    behind step 0. One that takes no steps, BC, has no environment steps (an empty list) and its final mean.
    """
    entries = {(str(a), str(t), int(str(n))): runs for (a, t, n), runs in results.curves.groupby(ENTRY)}
    rows: list[Row] = []
    for task in plotting.tasks_shown(results):
        n = min((size for _, name, size in entries if name == task), default=0)
        for algorithm in _methods(results):
            if (algorithm, task, n) not in entries:
                continue
            runs = entries[algorithm, task, n]
            ends = runs.groupby("seed")["env_steps"].max()
            row: Row = {"task": task, "trajectories": n, "algorithm": algorithm}
            if ends.min() == 0:
                last = runs.loc[runs.groupby("seed")["iteration"].idxmax()]
                rows.append(row | average(last, np.zeros(1)) | {"env_steps": []})
            else:
                first = runs.loc[runs["env_steps"] > 0, "env_steps"].min()
                rows.append(row | average(runs, np.geomspace(first, ends.min(), POINTS)))
    return rows


def profiles(results: Results) -> list[Row]:
    """Return a row per pooled scope and method: the share of runs whose normalised score is above tau.

    Cells weigh alike, whatever their number of seeds, and only cells that all drawn methods have are taken: otherwise
    the easier cells would decide. The band is a bootstrap over seeds within cells.

    Returns:
        Rows with scope, algorithm, n_cells, tau, share, low and high (lists of equal length).
    """
    scores = results.scores.dropna(subset="normalised")
    methods = [name for name in _methods(results) if control_of(name) is None]
    scores = scores[scores["algorithm"].isin(methods)]
    counts = scores.groupby(["task", "trajectories"])["algorithm"].nunique()
    common = counts.index[counts == scores["algorithm"].nunique()]
    scores = scores[scores.set_index(["task", "trajectories"]).index.isin(common)]
    rows: list[Row] = []
    for scope in POOLED:
        inside = within(scores, scope)
        for algorithm in methods:
            mine = inside[inside["algorithm"] == algorithm]
            cells = [cell["normalised"].to_numpy() for _, cell in mine.groupby(["task", "trajectories"])]
            if cells:
                share, low, high = profile(cells, TAUS)
                row: Row = {"scope": scope, "algorithm": algorithm, "n_cells": len(cells), "tau": TAUS.tolist()}
                rows.append(row | {"share": share.tolist(), "low": low.tolist(), "high": high.tolist()})
    return rows


def rows_of(results: Results) -> dict[str, list[Row]]:
    """Return the rows of every further figure by its name."""
    return {"trajectories": by_trajectories(results), "steps": by_steps(results), "profiles": profiles(results)}


def _by_task(
    results: Results, rows: Sequence[Row], panels: Sequence["Axes"], said: Callable[[Sequence[Row]], str]
) -> Iterator[tuple["Axes", list[Row]]]:
    """Yield each task's panel and rows, with its name, what is `said` of it and its references.

    A panel without rows tells the command that fills it, and is not yielded.
    """
    for axes, task in zip(panels, plotting.tasks_shown(results), strict=True):
        mine = [row for row in rows if row["task"] == task]
        plotting.head(axes, task, said(mine))
        if mine:
            plotting.draw_references(axes, plotting.references(results, task))
            yield axes, mine
        else:
            plotting.not_run(axes, f"bench run --table1\n--preset full\n--tasks {task}")


def draw_trajectories(results: Results, rows: Sequence[Row]) -> "Figure":
    """Draw return against the number of expert trajectories, a panel per task."""
    remark = f"{plotting.mean_remark(rows, 'bars')}; {DOTTED}{results.caution}"
    count = len(plotting.tasks_shown(results))
    figure, panels = plotting.panels(count, "Return against expert trajectories", remark)
    present = plotting.methods_of(rows)
    for axes, mine in _by_task(results, rows, panels, plotting.seeds_remark):
        task = mine[0]["task"]
        listed = TASKS[task].trajectories if task in TASKS else ()
        sizes = sorted({*listed, *(n for row in mine for n in row["trajectories"])})
        for i, row in enumerate(mine):
            # Side by side, for equal returns would hide each other.
            place = [sizes.index(n) + 0.09 * (i - (len(mine) - 1) / 2) for n in row["trajectories"]]
            style = plotting.style_of(row["algorithm"], present)
            axes.plot(place, row["mean"], **style, linewidth=1.1, zorder=3)
            axes.vlines(place, row["low"], row["high"], color=style["color"], linewidth=0.8, zorder=2)
        axes.set_xlim(-0.4, len(sizes) - 0.6)
        axes.set_xticks(range(len(sizes)), [str(n) for n in sizes])
        plotting.dress(axes, "expert trajectories", "return")
    plotting.legend(figure, {name: plotting.style_of(name, present) for name in present}, markers=True)
    return figure


def draw_steps(results: Results, rows: Sequence[Row]) -> "Figure":
    """Draw return against environment steps on a logarithmic axis, a panel per task."""
    remark = f"{plotting.mean_remark(rows, 'band')}; {DOTTED}{results.caution}"
    count = len(plotting.tasks_shown(results))
    figure, panels = plotting.panels(count, "Return against environment steps", remark)
    present = plotting.methods_of(rows)

    def said(mine: Sequence[Row]) -> str:
        return f"n={mine[0]['trajectories']}, {plotting.seeds_remark(mine)}" if mine else ""

    for axes, mine in _by_task(results, rows, panels, said):
        for row in mine:
            style = plotting.without_marker(plotting.style_of(row["algorithm"], present))
            if row["env_steps"]:
                plotting.band(axes, row, "env_steps", "mean", style)
            else:
                axes.axhline(row["mean"][0], **style, zorder=3)
        plotting.logarithmic_steps(axes)
        plotting.dress(axes, "environment steps", "return")
    plotting.legend(figure, {name: plotting.style_of(name, present) for name in present})
    return figure


def draw_profiles(results: Results, rows: Sequence[Row]) -> "Figure":
    """Draw the share of runs above each score, a panel per pooled scope."""
    scopes = [scope for scope in POOLED if any(row["scope"] == scope for row in rows)]
    remark = "share of runs above a score, cells weighed alike; band: 95 % bootstrap interval" + results.caution
    figure, panels = plotting.panels(len(scopes), "Performance profiles", remark, columns=3)
    present = plotting.methods_of(rows)
    for axes, scope in zip(panels, scopes, strict=True):
        mine = [row for row in rows if row["scope"] == scope]
        cells = mine[0]["n_cells"]
        plotting.head(axes, {"all": "all cells"}.get(scope, scope), f"{cells} cell{'s' * (cells != 1)}")
        for row in mine:
            style = plotting.without_marker(plotting.style_of(row["algorithm"], present))
            plotting.band(axes, row, "tau", "share", style)
        axes.set_xlim(TAUS[0], TAUS[-1])
        axes.set_ylim(0, 1)
        plotting.dress(axes, "score: fraction of the expert", "share of runs above it")
        axes.axvline(1.0, color=plotting.FAINT, linewidth=0.8, linestyle=(0, (1, 1.6)), zorder=1)
    plotting.legend(figure, {name: plotting.style_of(name, present) for name in present})
    return figure


def images(results: Results, rows: dict[str, list[Row]]) -> dict[str, bytes]:
    """Return NAME.png and NAME.pdf of every further figure that has rows; the same rows give the same bytes."""
    draw = {"trajectories": draw_trajectories, "steps": draw_steps, "profiles": draw_profiles}
    drawn: dict[str, bytes] = {}
    for name, found in rows.items():
        if found:
            drawn |= plotting.images(name, partial(draw[name], results, found))
    return drawn
