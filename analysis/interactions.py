"""How much of the environment, and of a processor, a method takes until it is about as good as the expert.

A run has arrived at the first evaluation of its curve from which on every later one, the final one included, has a
normalised score of at least `LEVEL`. A run that never does counts as more than its budget.
"""

import math
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis import plotting
from analysis.load import ENTRY, RUN, Results, control_of, entry_order, title
from analysis.markup import Column, Field, Grid, Text, changes
from analysis.statistics import Row
from analysis.wording import number, task_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVEL = 0.9
NOTES = [
    f"Arrival: the first evaluation of a run's curve from which on every later one, the final one included, has a "
    f"normalised score of at least {LEVEL:g}; a run has about 20 evaluations of 10 episodes. A run that never arrives "
    "counts as more than its budget (>). Median and slowest are over seeds.",
    "Steps: of the environment until arrival; core-minutes: the run's until then, evaluations included, in proportion "
    "to its iterations. Budget: both for the whole run.",
    "Score: normalised, of the final evaluation; mean over seeds, and the worst seed.",
]


def rows_of(results: Results) -> list[Row]:
    """Return one row per entry whose curves are known, bias controls apart; cloning takes no steps at all.

    Returns:
        Rows with task, trajectories, algorithm, n_seeds, n_arrived, env_steps and core_min (median until arrival; None:
        more than the budget), env_steps_slowest and core_min_slowest (likewise), budget_env_steps and budget_core_min
        (means), score and score_worst, and by seed: seeds, env_steps_by_seed and core_min_by_seed (None: never).
    """
    runs = results.runs[results.runs["expert"].notna() & results.runs["random"].notna()]
    curves = results.curves.merge(runs[[*RUN, "iterations", "core_s", "expert", "random"]], on=RUN)
    curves["score"] = (curves["mean"] - curves["random"]) / (curves["expert"] - curves["random"])
    curves = curves.sort_values(["seed", "iteration"])
    rows: list[Row] = []
    entry: pd.DataFrame
    key: Any
    for key, entry in curves.groupby(ENTRY):
        algorithm, task, n = key
        if control_of(algorithm):
            continue
        last = entry.drop_duplicates("seed", keep="last")
        final = last["score"].tolist()
        arrived = arrivals(entry)
        rows.append(
            {
                **{"task": task, "trajectories": int(n), "algorithm": algorithm, "n_seeds": len(last)},
                "n_arrived": sum(steps < math.inf for steps, _ in arrived),
                **_summary("env_steps", [steps for steps, _ in arrived]),
                **_summary("core_min", [minutes for _, minutes in arrived]),
                "budget_env_steps": float(last["env_steps"].mean()),
                "budget_core_min": float(last["core_s"].mean()) / 60,
                "score": float(np.mean(final)),
                "score_worst": min(final),
                "seeds": last["seed"].tolist(),
                "env_steps_by_seed": [_finite(steps) for steps, _ in arrived],
                "core_min_by_seed": [_finite(minutes) for _, minutes in arrived],
            }
        )
    return sorted(rows, key=lambda row: entry_order((row["algorithm"], row["task"], row["trajectories"])))


def arrival(scores: NDArray[np.float64]) -> int | None:
    """Return which of a curve's scores [P] is the first from which on all are at least `LEVEL`; None: there is none."""
    below = np.flatnonzero(scores < LEVEL)
    first = int(below[-1]) + 1 if len(below) else 0
    return first if first < len(scores) else None


def arrivals(entry: pd.DataFrame) -> list[tuple[float, float]]:
    """Return each run's environment steps and core-minutes at its arrival, or infinity, of runs one below the other."""
    names = ("seed", "score", "env_steps", "core_s", "iteration", "iterations")
    seed, score, steps, core_s, iteration, iterations = (entry[name].to_numpy() for name in names)
    bounds = [0, *(np.flatnonzero(np.diff(seed)) + 1).tolist(), len(seed)]
    found = []
    for start, end in pairwise(bounds):
        first = arrival(score[start:end])
        at = start + (first or 0)
        minutes = float(core_s[at] * iteration[at] / iterations[at] / 60)
        found.append((math.inf, math.inf) if first is None else (float(steps[at]), minutes))
    return found


def _summary(name: str, values: Sequence[float]) -> Row:
    return {name: _finite(median(values)), f"{name}_slowest": _finite(max(values))}


def _finite(value: float) -> float | None:
    return value if value < math.inf else None


def grid(rows: Sequence[Row]) -> Grid:
    """Return the table, a row per entry."""
    columns = [
        *(Column("task", "left"), Column("n"), Column("method", "left"), Column("arrived")),
        *(Column("steps"), Column("slowest"), Column("core-min"), Column("slowest")),
        *(Column("budget"), Column("core-min"), Column("score"), Column("worst")),
    ]
    fields: list[list[Field]] = []
    for row in rows:
        fields.append([Text(task_title(row["task"])), str(row["trajectories"]), Text(title(row["algorithm"]))])
        fields[-1].append(f"{row['n_arrived']} of {row['n_seeds']}")
        for name, digits in (("env_steps", 0), ("core_min", 2)):
            budget = f"> {number(row[f'budget_{name}'], digits)}"
            for key in (name, f"{name}_slowest"):
                fields[-1].append(budget if row[key] is None else number(row[key], digits))
        fields[-1] += [number(row["budget_env_steps"], 0), number(row["budget_core_min"], 2)]
        fields[-1] += [number(row["score"]), number(row["score_worst"])]
    return Grid(columns, fields, changes((row["task"], row["trajectories"]) for row in rows))


def drawn(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of the figure: each task at its smallest size, methods that take steps.

    Variants are drawn where most rows are of variants, as among ablations.
    """
    smallest = {row["task"]: min(r["trajectories"] for r in rows if r["task"] == row["task"]) for row in rows}
    takers = [row for row in rows if row["budget_env_steps"]]
    plain = [row for row in takers if "+" not in row["algorithm"]]
    methods = plain if 2 * len(plain) >= len(takers) else takers
    return [row for row in methods if row["trajectories"] == smallest[row["task"]]]


def draw(rows: Sequence[Row], caution: str) -> "Figure":
    """Draw environment steps and core-minutes until arrival, a line per method and a point per seed."""
    from matplotlib.figure import Figure

    present = plotting.methods_of(rows)
    tasks = [row["task"] for row in rows]
    places = [1.0]
    for before, task in pairwise(tasks):  # a task's name takes two lines, even if it has but one method
        places.append(places[-1] + 1.0 + (task != before) * (1.7 if tasks.count(before) == 1 else 0.9))
    head, foot = 0.42, 0.36
    total = head + foot + 0.135 * (places[-1] + 0.4)
    figure = Figure(figsize=(plotting.WIDTH, total))
    panels = figure.subplots(1, 2, sharey=True)
    left = 0.32 if any("+" in name for name in present) else 0.24  # variants have longer names
    figure.subplots_adjust(left=left, right=0.985, top=1 - head / total, bottom=foot / total, wspace=0.06)
    figure.text(0.012, 1 - 0.12 / total, f"Until {LEVEL:g} of the expert", fontsize=9.5, fontweight="bold", va="center")
    remark = "each point a seed, the bar their median; hollow: never within the budget" + caution
    figure.text(0.988, 1 - 0.12 / total, remark, fontsize=6.5, color=plotting.FAINT, va="center", ha="right")
    for axes, name, label in zip(
        panels, ("env_steps", "core_min"), ("environment steps", "core-minutes, evaluations included"), strict=True
    ):
        axes.set_xscale("log")
        for place, row in zip(places, rows, strict=True):
            _line(axes, place, row, name, plotting.style_of(row["algorithm"], present))
        axes.set_ylim(places[-1] + 0.7, 0.3)
        axes.grid(axis="x", color="#ececec", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(label, fontsize=6.5, labelpad=1)
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        axes.xaxis.set_major_formatter(lambda value, _: plotting.steps(value))
    panels[0].set_yticks(places, [title(row["algorithm"]) for row in rows])
    for i, (place, row) in enumerate(zip(places, rows, strict=True)):
        if not i or row["task"] != rows[i - 1]["task"]:
            text = f"{task_title(row['task'])}\nn={row['trajectories']}"
            y = 1 - (head + 0.135 * (place + 0.7)) / total
            figure.text(0.012, y, text, fontsize=7, fontweight="bold", va="center")
    return figure


def _line(axes: "Axes", place: float, row: Row, name: str, style: plotting.Style) -> None:
    """Draw one entry's seeds and their median."""
    budget, color = row[f"budget_{name}"], style["color"]
    values = row[f"{name}_by_seed"]
    offsets = np.linspace(-0.2, 0.2, len(values)) if len(values) > 1 else [0.0]
    points = [(value, place + offset) for value, offset in zip(values, offsets, strict=True)]
    arrived = [(max(value, _least(name)), y) for value, y in points if value is not None]
    never = [(budget, y) for value, y in points if value is None]
    for places, face in ((arrived, color), (never, "white")):
        if places:
            axes.plot(*zip(*places, strict=True), "o", markersize=2.6, color=color, mfc=face, markeredgewidth=0.6)
    if row[name] is not None:
        axes.plot([max(row[name], _least(name))] * 2, [place - 0.38, place + 0.38], color=color, linewidth=1.6)


def _least(name: str) -> float:
    """Return where a run is drawn that had arrived before its first step: a logarithmic axis has no zero."""
    return 1000.0 if name == "env_steps" else 0.01


def images(rows: Sequence[Row], caution: str) -> dict[str, bytes]:
    """Return interactions.png and interactions.pdf; nothing where there are no rows."""
    chosen = drawn(rows)
    return plotting.images("interactions", partial(draw, chosen, caution)) if chosen else {}
