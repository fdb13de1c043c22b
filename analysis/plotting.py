"""What all figures share: colours, panels, legends, and files that are the same bytes for the same rows.

Figures are drawn at the size of print, a text width of 7 inches: nothing is to be scaled down.
"""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.load import Results, algorithm_order, title
from analysis.wording import task_title
from bench.tasks import TASKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Style = dict[str, Any]

WIDTH = 7.0  # inches
INK, FAINT = "#333333", "#7a7a7a"
# Okabe and Ito's palette, told apart by the colour-blind; dashes and markers tell methods apart in grey.
STYLES: dict[str, Style] = {
    "bc": {"color": "#CC79A7", "linestyle": (0, (1, 1.2)), "marker": "v"},
    "gail-reinforce": {"color": "#E69F00", "linestyle": (0, (5, 1.2, 1, 1.2)), "marker": "^"},
    "gail-trpo": {"color": "#D55E00", "linestyle": (0, (3, 1.2)), "marker": "s"},
    "mgail-basic": {"color": "#0072B2", "linestyle": (0, (5, 1.5)), "marker": "D"},
    "mgail-advanced": {"color": "#009E73", "linestyle": "-", "marker": "o"},
}
_OTHERS = ("#56B4E9", "#333333", "#F0E442", "#999999", *(style["color"] for style in STYLES.values()))
_DASHES = ((0, (5, 1.5)), "-", (0, (1, 1.2)), (0, (5, 1.2, 1, 1.2)))
_MARKERS = "oDs^vP"
RC: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 7,
    "pdf.fonttype": 42,  # text stays text
    "axes.edgecolor": "#bbbbbb",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": "#555555",
    "ytick.color": "#555555",
    "xtick.labelsize": 6.2,
    "ytick.labelsize": 6.2,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.2,
}


def style_of(algorithm: str, present: Sequence[str]) -> Style:
    """Return how an algorithm is drawn: ours always alike, others by their place among those present."""
    if algorithm in STYLES:
        return STYLES[algorithm]
    place = [name for name in present if name not in STYLES].index(algorithm)
    color, line, marker = (kinds[place % len(kinds)] for kinds in (_OTHERS, _DASHES, _MARKERS))
    return {"color": color, "linestyle": line, "marker": marker}


def tasks_shown(results: Results) -> list[str]:
    """Return the tasks that have a panel: all eight, or a foreign table's own."""
    return list(dict.fromkeys(task for task, _ in results.cells)) if results.foreign else list(TASKS)


def panels(count: int, heading: str, remark: str, columns: int = 4) -> "tuple[Figure, list[Axes]]":
    """Return a figure of `count` panels in rows of four, with its heading and, beside it, a remark.

    The legend belongs below the heading (`legend`).
    """
    from matplotlib.figure import Figure

    columns = min(columns, count)
    rows = -(-count // columns)
    head, gap, foot, height = 0.76, 0.68, 0.34, 1.28
    total = head + foot + rows * height + (rows - 1) * gap
    figure = Figure(figsize=(WIDTH, total))
    found = figure.subplots(rows, columns, squeeze=False).flat
    figure.subplots_adjust(
        left=0.068, right=0.988, top=1 - head / total, bottom=foot / total, wspace=0.27, hspace=gap / height
    )
    figure.text(0.012, 1 - 0.11 / total, heading, fontsize=9.5, fontweight="bold", va="center")
    figure.text(0.988, 1 - 0.11 / total, remark, fontsize=6.5, color=FAINT, va="center", ha="right")
    axes = list(found)
    for unused in axes[count:]:
        unused.set_visible(False)
    return figure, axes[:count]


def legend(figure: "Figure", styles: Mapping[str, Style], markers: bool = False) -> None:
    """Name the algorithms on the line below the heading."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], **(style if markers else without_marker(style)), label=title(name))
        for name, style in styles.items()
    ]
    height = figure.get_figheight()
    figure.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(0.003, 1 - 0.31 / height),
        ncols=min(len(handles), 5),
        frameon=False,
        fontsize=7,
        handlelength=2.6,
        columnspacing=1.6,
    )


def without_marker(style: Style) -> Style:
    """Return a style for lines of many points."""
    return {key: value for key, value in style.items() if key != "marker"}


def head(axes: "Axes", task: str, remark: str) -> None:
    """Write a task's name above its panel, and a remark below the name."""
    axes.set_title(task_title(task), fontsize=7.5, fontweight="bold", loc="left", pad=11)
    place = {"xycoords": "axes fraction", "textcoords": "offset points"}
    axes.annotate(remark, (0, 1), xytext=(0, 3.5), fontsize=6, color=FAINT, **place)  # type: ignore[arg-type]


def references(results: Results, task: str) -> dict[str, float]:
    """Return the expert's (stochastic) and the random policy's return, where known."""
    runs = results.runs[results.runs["task"] == task]
    known = {name: runs[name].astype(float).mean() for name in ("expert", "random")}
    return {name: float(value) for name, value in known.items() if np.isfinite(value)}


def draw_references(axes: "Axes", values: Mapping[str, float], named: bool = False) -> None:
    """Draw dotted lines at the expert's and the random policy's return, and their names if there is room for them."""
    from matplotlib.patheffects import withStroke

    for name, value in values.items():
        axes.axhline(value, color=FAINT, linewidth=0.8, linestyle=(0, (1, 1.6)), zorder=1)
        if not named:
            continue
        side = "left" if name == "expert" else "right"  # curves begin below the one and end above the other
        axes.annotate(
            name,
            (0.0 if side == "left" else 1.0, value),
            xycoords=("axes fraction", "data"),
            xytext=(2 if side == "left" else -1, 1.5),
            textcoords="offset points",
            fontsize=6,
            color=FAINT,
            ha=side,
            path_effects=[withStroke(linewidth=2, foreground="white")],  # should a curve pass there all the same
            zorder=4,
        )


def dress(axes: "Axes", xlabel: str, ylabel: str) -> None:
    """Set what every panel has: few ticks, a faint grid, labels at the left and below."""
    from matplotlib.ticker import MaxNLocator

    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.07 * (high - low))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}".replace("-", "−"))
    axes.grid(axis="y", color="#ececec", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(pad=1.5)
    axes.set_xlabel(xlabel, fontsize=6.5, labelpad=1)
    place = axes.get_subplotspec()
    if place is None or place.is_first_col():
        axes.set_ylabel(ylabel, fontsize=6.5, labelpad=2)


def logarithmic_steps(axes: "Axes") -> None:
    """Write environment steps on a logarithmic axis: 10k, 30k, 100k."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axes.xaxis.set_major_formatter(lambda value, _: steps(value))
    axes.xaxis.set_minor_formatter(NullFormatter())


def few_ticks_of_steps(axes: "Axes") -> None:
    """Write environment steps as 0, 50k, 1.5M, at few places."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter(lambda value, _: steps(value))


def steps(value: float) -> str:
    """Write a number of environment steps: 0, 50k, 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def not_run(axes: "Axes", command: str) -> None:
    """Leave a panel empty but for the command that fills it."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_facecolor("#f7f7f7")
    for spine in axes.spines.values():
        spine.set_visible(False)
    common: Any = {"ha": "center", "va": "center", "color": FAINT, "transform": axes.transAxes}
    axes.text(0.5, 0.62, "not run", fontsize=8, **common)
    axes.text(0.5, 0.34, command, fontsize=5.2, family="DejaVu Sans Mono", **common)


def band(axes: "Axes", row: Mapping[str, Any], x: str, y: str, style: Style) -> None:
    """Draw one row's line and its interval, where it has one."""
    if row["low"] is not None:
        axes.fill_between(row[x], row["low"], row["high"], color=style["color"], alpha=0.17, linewidth=0)
    axes.plot(row[x], row[y], **style, zorder=3)


def seeds_remark(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return how many seeds rows have: "11 seeds", "5–11 seeds", or nothing where there are no rows."""
    counts = sorted({row["n_seeds"] for row in rows})
    if not counts:
        return ""
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}–{counts[-1]}"
    return f"{span} seed{'s' * (counts != [1])}"


def mean_remark(rows: Iterable[Mapping[str, Any]], shape: str) -> str:
    """Return what lines show: the mean over seeds and, where there are several, its interval as `shape`."""
    several = any(row["n_seeds"] > 1 for row in rows)
    return "mean over seeds" + (f"; {shape}: its 95 % bootstrap interval" if several else "")


def images(name: str, draw: "Callable[[], Figure]") -> dict[str, bytes]:
    """Return a figure as NAME.png and NAME.pdf; the same rows give the same bytes (no date, no version of anything)."""
    import matplotlib

    drawn: dict[str, bytes] = {}
    kinds: tuple[tuple[str, dict[str, None]], ...] = (
        ("png", {"Software": None}),
        ("pdf", {"CreationDate": None, "Producer": None, "Creator": None}),
    )
    with matplotlib.rc_context(RC):
        figure = draw()
        for kind, metadata in kinds:
            stream = io.BytesIO()
            figure.savefig(stream, format=kind, dpi=240, metadata=metadata)
            drawn[f"{name}.{kind}"] = stream.getvalue()
    return drawn


def methods_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the algorithms that rows are of, in the order of table columns."""
    return sorted({row["algorithm"] for row in rows}, key=algorithm_order)
