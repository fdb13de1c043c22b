"""Figure 5: return against environment steps of the basic and the advanced forward model, one panel per task.

The paper states neither dataset size nor x axis; ours are each task's smallest size and environment steps. Of other
results, the algorithms with curves are drawn on the smallest size of each task.
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.load import Results, title
from analysis.robust import RESAMPLES
from analysis.statistics import Row
from bench.tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Blue and bluish green of Okabe and Ito's palette, told apart by the colour-blind; dashes tell them apart in grey.
STYLES: dict[str, dict[str, Any]] = {
    "mgail-basic": {"color": "#0072B2", "linestyle": (0, (5, 1.5))},
    "mgail-advanced": {"color": "#009E73", "linestyle": "-"},
}
INK, FAINT = "#333333", "#8a8a8a"
POINTS = 101  # of the common grid of environment steps
_RC: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8.5,
    "pdf.fonttype": 42,  # text stays text
    "axes.edgecolor": "#bbbbbb",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": "#666666",
    "ytick.color": "#666666",
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
}


def curves(results: Results) -> list[Row]:
    """Return one row per curve: the seeds' mean return on a common grid of environment steps, and its band.

    A seed's evaluations are joined by straight lines; the grid ends where the shortest seed ends. The band is the 95 %
    bootstrap interval of the mean over seeds; None for one seed.

    Returns:
        Rows with task, trajectories, algorithm, n_seeds, env_steps, mean, low and high (lists of equal length).
    """
    rows: list[Row] = []
    for task in TASKS.values():
        for algorithm in STYLES:
            n = task.trajectories[0]
            chosen = results.curves
            chosen = chosen[(chosen["algorithm"] == algorithm) & (chosen["task"] == task.name)]
            chosen = chosen[chosen["trajectories"] == n]
            if len(chosen):
                rows.append({"task": task.name, "trajectories": n, "algorithm": algorithm, **_curve(chosen)})
    return rows


def _curve(runs: pd.DataFrame) -> Row:
    """Return the mean and band over the seeds of one entry."""
    seeds = [rows.sort_values("env_steps") for _, rows in runs.groupby("seed")]
    grid = np.linspace(0, min(rows["env_steps"].max() for rows in seeds), POINTS)
    values = np.array([np.interp(grid, rows["env_steps"], rows["mean"]) for rows in seeds])
    row: Row = {"n_seeds": len(seeds), "env_steps": grid.tolist(), "mean": values.mean(axis=0).tolist()}
    if len(seeds) == 1:
        return row | {"low": None, "high": None}
    drawn = np.random.default_rng(0).multinomial(len(seeds), np.full(len(seeds), 1 / len(seeds)), size=RESAMPLES)
    low, high = np.quantile(drawn @ values / len(seeds), [0.025, 0.975], axis=0)
    return row | {"low": low.tolist(), "high": high.tolist()}


def draw(results: Results, rows: Sequence[Row]) -> "Figure":
    """Draw the eight panels from the rows of `curves`."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(_RC):
        figure = Figure(figsize=(10.2, 5.3))
        panels = figure.subplots(2, 4).flat
        for axes, task in zip(panels, TASKS.values(), strict=True):
            mine = [row for row in rows if row["task"] == task.name]
            axes.set_title(task.title, fontsize=10, fontweight="bold", loc="left", pad=7)
            axes.set_title(_subtitle(task.trajectories[0], mine), fontsize=7, color=FAINT, loc="right", pad=7)
            if mine:
                _panel(axes, mine, _references(results, task.name))
                axes.set_xlabel("environment steps", fontsize=7.5, labelpad=2)
                if axes.get_subplotspec().is_first_col():
                    axes.set_ylabel("return, deterministic policy", fontsize=8)
            else:
                _not_run(axes, task.name)
        figure.subplots_adjust(left=0.062, right=0.985, top=0.87, bottom=0.085, wspace=0.27, hspace=0.42)
        _legend(figure, rows, results.caution)
    return figure


def _subtitle(n: int, mine: Sequence[Row]) -> str:
    """Return a panel's dataset size, its seeds and, where others were run, what was not."""
    seeds = sorted({row["n_seeds"] for row in mine})
    runs = f", {'–'.join(str(k) for k in seeds)} seed{'s' * (seeds != [1])}" if seeds else ""
    absent = [title(name) for name in STYLES if mine and name not in {row["algorithm"] for row in mine}]
    return f"n={n}{runs}" + "".join(f"\n{name.removeprefix('MGAIL ')}: not run" for name in absent)


def _references(results: Results, task: str) -> dict[str, float]:
    """Return the expert's (stochastic) and the random policy's return, where known."""
    runs = results.runs[results.runs["task"] == task]
    known = {name: runs[name].astype(float).mean() for name in ("expert", "random")}
    return {name: float(value) for name, value in known.items() if np.isfinite(value)}


def _panel(axes: "Axes", mine: Sequence[Row], references: dict[str, float]) -> None:
    from matplotlib.patheffects import withStroke
    from matplotlib.ticker import MaxNLocator

    for name, value in references.items():
        axes.axhline(value, color=FAINT, linewidth=0.9, linestyle=(0, (1, 1.6)), zorder=1)
        side = "left" if name == "expert" else "right"  # curves begin below the one and end above the other
        axes.annotate(
            name,
            (0.0 if side == "left" else 1.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(3 if side == "left" else -1, 2),
            textcoords="offset points",
            fontsize=6.8,
            color=FAINT,
            ha=side,
            path_effects=[withStroke(linewidth=2, foreground="white")],  # should a curve pass there all the same
            zorder=4,
        )
    for row in mine:
        style = STYLES[row["algorithm"]]
        if row["low"] is not None:
            axes.fill_between(row["env_steps"], row["low"], row["high"], color=style["color"], alpha=0.17, linewidth=0)
        axes.plot(row["env_steps"], row["mean"], **style, linewidth=1.7, zorder=3)
    axes.set_xlim(0, max(row["env_steps"][-1] for row in mine))
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.06 * (high - low))
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: steps(value))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}".replace("-", "−"))
    axes.grid(axis="y", color="#ececec", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=2.5, width=0.6)


def _not_run(axes: "Axes", task: str) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("#f7f7f7")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.text(0.5, 0.56, "not run", ha="center", va="center", fontsize=10, color=FAINT, transform=axes.transAxes)
    axes.text(
        0.5,
        0.4,
        f"bench run --figure5\n--preset full --tasks {task}",
        ha="center",
        va="center",
        fontsize=5.8,
        color=FAINT,
        family="DejaVu Sans Mono",
        transform=axes.transAxes,
    )


def _legend(figure: "Figure", rows: Sequence[Row], caution: str) -> None:
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **style, linewidth=1.7, label=title(name)) for name, style in STYLES.items()]
    figure.legend(handles=handles, loc="upper right", bbox_to_anchor=(0.988, 0.995), ncols=2, frameon=False, fontsize=9)
    figure.text(0.012, 0.962, "MGAIL by forward model", fontsize=12, fontweight="bold", va="center")
    several = any(row["low"] is not None for row in rows)
    figure.text(
        0.262,
        0.958,
        "mean over seeds"
        + ("; band: its 95 % bootstrap interval" if several else "")
        + (caution or "; n: expert trajectories"),
        fontsize=8,
        color=FAINT,
        va="center",
    )


def steps(value: float) -> str:
    """Write a number of environment steps: 0, 50k, 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def images(results: Results, rows: Sequence[Row]) -> dict[str, bytes]:
    """Return figure5.png and figure5.pdf; the same rows give the same bytes (no date, no version of anything)."""
    import matplotlib

    drawn: dict[str, bytes] = {}
    with matplotlib.rc_context(_RC):
        for name, metadata in (
            ("png", {"Software": None}),
            ("pdf", {"CreationDate": None, "Producer": None, "Creator": None}),
        ):
            stream = io.BytesIO()
            draw(results, rows).savefig(stream, format=name, dpi=200, metadata=metadata)
            drawn[f"figure5.{name}"] = stream.getvalue()
    return drawn
