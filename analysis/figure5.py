"""Figure 5: return against environment steps of the basic and the advanced forward model, one panel per task.

The paper states neither dataset size nor x axis; ours are each task's smallest size and environment steps. Of other
results, the algorithms with curves are drawn on the smallest size of each task.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import plotting
from analysis.load import ENTRY, Results, title
from analysis.robust import mean_interval
from analysis.statistics import Row
from bench.tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The paper's colours, blue and green.
STYLES = {name: plotting.without_marker(plotting.STYLES[name]) for name in ("mgail-basic", "mgail-advanced")}
POINTS = 101  # of the common grid of environment steps
HEADING = "MGAIL by forward model"


def curves(results: Results) -> list[Row]:
    """Return one row per curve: the seeds' mean return on a common grid of environment steps, and its band.

    A seed's evaluations are joined by straight lines; the grid ends where the shortest seed ends. The band is the 95 %
    bootstrap interval of the mean over seeds; None for one seed.

    Returns:
        Rows with task, trajectories, algorithm, n_seeds, env_steps, mean, low and high (lists of equal length).
    """
    entries = dict(iter(results.curves.groupby(ENTRY)))
    return [
        {"task": task.name, "trajectories": n, "algorithm": algorithm, **average(entries[algorithm, task.name, n])}
        for task in TASKS.values()
        for algorithm in STYLES
        for n in task.trajectories[:1]
        if (algorithm, task.name, n) in entries
    ]


def average(runs: pd.DataFrame, grid: NDArray[np.float64] | None = None) -> Row:
    """Return the mean and band over the seeds of one entry, on `grid` or equal steps from 0 to the shortest's end."""
    ordered = runs.sort_values(["seed", "env_steps"])
    begins = np.flatnonzero(np.diff(ordered["seed"].to_numpy())) + 1
    steps, means = (np.split(ordered[name].to_numpy(np.float64), begins) for name in ("env_steps", "mean"))
    seeds = list(zip(steps, means, strict=True))
    if grid is None:
        grid = np.linspace(0, min(x[-1] for x in steps), POINTS)
    values = np.array([np.interp(grid, x, y) for x, y in seeds])
    row: Row = {"n_seeds": len(seeds), "env_steps": grid.tolist(), "mean": values.mean(axis=0).tolist()}
    low, high = mean_interval(values)
    return row | {"low": None if low is None else low.tolist(), "high": None if high is None else high.tolist()}


def draw(results: Results, rows: Sequence[Row]) -> "Figure":
    """Draw the eight panels from the rows of `curves`."""
    import matplotlib

    remark = plotting.mean_remark(rows, "band") + (results.caution or "; n: expert trajectories")
    with matplotlib.rc_context(plotting.RC):
        figure, panels = plotting.panels(len(TASKS), HEADING, remark)
        for axes, task in zip(panels, TASKS.values(), strict=True):
            mine = [row for row in rows if row["task"] == task.name]
            plotting.head(axes, task.name, _remark(task.trajectories[0], mine))
            if not mine:
                plotting.not_run(axes, f"bench run --figure5\n--preset full\n--tasks {task.name}")
                continue
            plotting.draw_references(axes, plotting.references(results, task.name), named=True)
            for row in mine:
                plotting.band(axes, row, "env_steps", "mean", STYLES[row["algorithm"]])
            axes.set_xlim(0, max(row["env_steps"][-1] for row in mine))
            plotting.dress(axes, "environment steps", "return")
            plotting.few_ticks_of_steps(axes)
        plotting.legend(figure, STYLES)
    return figure


def _remark(n: int, mine: Sequence[Row]) -> str:
    """Return a panel's dataset size, its seeds and, where others were run, what was not."""
    absent = [title(name) for name in STYLES if mine and name not in {row["algorithm"] for row in mine}]
    seeds = plotting.seeds_remark(mine)
    parts = [f"n={n}" + (f", {seeds}" if seeds else ""), *(f"{one.removeprefix('MGAIL ')}: not run" for one in absent)]
    return "; ".join(parts)


def images(results: Results, rows: Sequence[Row]) -> dict[str, bytes]:
    """Return figure5.png and figure5.pdf; the same rows give the same bytes."""
    return plotting.images("figure5", lambda: draw(results, rows))
