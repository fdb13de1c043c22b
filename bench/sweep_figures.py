"""Figures of a sweep: its history, its surface over two settings (a slice over one), and what mattered."""

import io
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import get_param_importances
from optuna.study import Study, create_study
from optuna.trial import FrozenTrial, TrialState, create_trial

from bench.sweep_space import Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BLUE, ORANGE, INK, FAINT = "#2a78b5", "#d1691f", "#333333", "#8a8a8a"
HOLLOW: Any = {"facecolors": "white", "edgecolors": BLUE, "linewidths": 0.9, "zorder": 3}
EXPERT: Any = {"color": FAINT, "linewidth": 0.9, "linestyle": (0, (1, 1.6)), "label": "expert"}
SIZE = (4.6, 3.3)
GRID = 120  # points a side of the interpolated surface
LEAST = 4  # trials without which nothing is said about importance
_RC: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.edgecolor": "#bbbbbb",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "text.color": INK,
    "xtick.color": "#666666",
    "ytick.color": "#666666",
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}


def images(study: Study, space: Space) -> dict[str, bytes]:
    """Return {file name: PNG} of all figures that the trials so far allow."""
    import matplotlib
    from matplotlib.figure import Figure

    trials = [
        t
        for t in study.get_trials(deepcopy=False)
        if t.state.is_finished() and t.value is not None and "broke" not in t.user_attrs
    ]
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        return {}
    ranked = importances(trials)
    drawn = {"history.png": lambda axes: _history(axes, trials)}
    if len(space) > 1:
        x, y = sorted(space, key=lambda name: -ranked.get(name, 0.0))[:2]
        drawn["contour.png"] = lambda axes: _contour(axes, trials, space, x, y)
        if ranked:
            drawn["importance.png"] = lambda axes: _importance(axes, ranked)
    else:
        drawn["slice.png"] = lambda axes: _slice(axes, trials, space)
    found = {}
    with matplotlib.rc_context(_RC):
        for name, draw in drawn.items():
            figure = Figure(figsize=SIZE, layout="constrained")
            draw(figure.subplots())
            stream = io.BytesIO()
            figure.savefig(stream, format="png", dpi=160, metadata={"Software": None})
            found[name] = stream.getvalue()
    return found


def importances(trials: Sequence[FrozenTrial]) -> dict[str, float]:
    """Return {setting: its share in what sets the best trials apart from the others} (PED-ANOVA).

    Pruned trials count with their mean so far: most trials are pruned, and what is bad shows in them.
    """
    if len(trials) < LEAST:
        return {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        study = create_study(direction="maximize")
        for trial in trials:
            study.add_trial(create_trial(params=trial.params, distributions=trial.distributions, value=_value(trial)))
        return {name: float(share) for name, share in get_param_importances(study).items()}


def _split(trials: Sequence[FrozenTrial]) -> tuple[list[FrozenTrial], list[FrozenTrial]]:
    """Return the complete trials and the pruned ones."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return complete, [trial for trial in trials if trial.state != TrialState.COMPLETE]


def _history(axes: "Axes", trials: Sequence[FrozenTrial]) -> None:
    from matplotlib.ticker import MaxNLocator

    complete, pruned = _split(trials)
    numbers = [trial.number for trial in complete]
    values = [_value(trial) for trial in complete]
    axes.step(numbers, np.maximum.accumulate(values), where="post", color=ORANGE, linewidth=1.4, label="best so far")
    axes.scatter(numbers, values, s=16, color=BLUE, label="complete", zorder=3)
    if pruned:
        at = [trial.number for trial in pruned]
        axes.scatter(at, [_value(trial) for trial in pruned], s=16, label="pruned: mean so far", **HOLLOW)
    axes.axhline(1.0, **EXPERT)
    axes.set(title="History", xlabel="trial", ylabel="mean final normalised score")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color="#ececec", linewidth=0.7)
    axes.set_axisbelow(True)
    _legend(axes, 4)


def _slice(axes: "Axes", trials: Sequence[FrozenTrial], space: Space) -> None:
    ((name, distribution),) = space.items()
    complete, pruned = _split(trials)
    for chosen, style, label in ((complete, {"color": BLUE}, "complete"), (pruned, HOLLOW, "pruned: mean so far")):
        if not chosen:
            continue
        at = _positions(chosen, name, distribution)
        axes.scatter(at, [_value(trial) for trial in chosen], s=18, label=label, **style)
    axes.axhline(1.0, **EXPERT)
    axes.set(title=f"Score by {name}", ylabel="mean final normalised score")
    _scale(axes, "x", name, distribution)
    axes.grid(axis="y", color="#ececec", linewidth=0.7)
    axes.set_axisbelow(True)
    _legend(axes, 3)


def _contour(axes: "Axes", trials: Sequence[FrozenTrial], space: Space, x: str, y: str) -> None:
    from scipy.interpolate import griddata
    from scipy.spatial import QhullError

    at = [_positions(trials, name, space[name]) for name in (x, y)]
    values = np.array([_value(trial) for trial in trials])
    logs = [bool(getattr(space[name], "log", False)) for name in (x, y)]
    points = np.column_stack([np.log(one) if log else one for one, log in zip(at, logs, strict=True)])
    spans = [np.linspace(column.min(), column.max(), GRID) for column in points.T]
    mesh = np.meshgrid(*spans)
    low, high = float(values.min()), max(float(values.max()), float(values.min()) + 1e-6)
    colours: Any = {"cmap": "viridis", "vmin": low, "vmax": high}
    try:
        surface = griddata(points, values, tuple(mesh), rescale=True)
        edges = [np.exp(one) if log else one for one, log in zip(mesh, logs, strict=True)]
        axes.contourf(*edges, surface, levels=np.linspace(low, high, 13), alpha=0.85, **colours)
    except QhullError:  # too few trials, or all on a line: their points alone
        pass
    complete, pruned = _split(trials)
    for chosen, edge, label in ((complete, "white", "complete"), (pruned, "black", "pruned: mean so far")):
        if chosen:
            where = [_positions(chosen, name, space[name]) for name in (x, y)]
            colour = [_value(trial) for trial in chosen]
            shown = axes.scatter(
                where[0], where[1], c=colour, s=26, edgecolors=edge, linewidths=0.8, zorder=3, label=label, **colours
            )
    best = [_positions([max(complete, key=_value)], name, space[name]) for name in (x, y)]
    axes.scatter(
        best[0], best[1], marker="*", s=130, color=ORANGE, edgecolors="white", linewidths=0.8, zorder=4, label="best"
    )
    axes.set_title("Score over two settings")
    _legend(axes, 3)
    assert axes.figure is not None
    axes.figure.colorbar(shown, ax=axes, label="mean final normalised score")
    for axis, name in (("x", x), ("y", y)):
        _scale(axes, axis, name, space[name])


def _importance(axes: "Axes", ranked: dict[str, float]) -> None:
    names = list(ranked)[::-1]
    bars = axes.barh(names, [ranked[name] for name in names], height=0.55, color=BLUE)
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8)
    axes.set(title="Importance (PED-ANOVA)", xlabel="share in what sets the best trials apart", xlim=(0, 1.12))
    axes.tick_params(axis="y", length=0)


def _legend(axes: "Axes", columns: int) -> None:
    """Put the legend between the title and the axes."""
    axes.set_title(axes.get_title(loc="left"), pad=18)
    where: Any = {"loc": "lower left", "bbox_to_anchor": (-0.02, 0.99)}
    axes.legend(**where, ncols=columns, fontsize=6.8, handlelength=1.2, handletextpad=0.4, columnspacing=1)


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None
    return trial.value


def _positions(trials: Sequence[FrozenTrial], name: str, distribution: BaseDistribution) -> NDArray[np.float64]:
    """Return where the trials lie along an axis: their value, or the number of their choice."""
    if isinstance(distribution, CategoricalDistribution):
        return np.array([distribution.choices.index(trial.params[name]) for trial in trials], dtype=float)
    return np.array([trial.params[name] for trial in trials], dtype=float)


def _scale(axes: "Axes", which: str, name: str, distribution: BaseDistribution) -> None:
    """Label an axis, and scale it as the setting is drawn."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axis = getattr(axes, f"{which}axis")
    axis.set_label_text(name)
    if isinstance(distribution, CategoricalDistribution):
        axis.set_ticks(range(len(distribution.choices)), [str(choice) for choice in distribution.choices])
        return
    low, high = float(distribution.low), float(distribution.high)
    margin = 0.03 * (high - low)
    limits = low - margin, high + margin
    if getattr(distribution, "log", False):
        ratio = (high / low) ** 0.03
        limits = low / ratio, high * ratio
        getattr(axes, f"set_{which}scale")("log")
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.set_minor_formatter(NullFormatter())
    getattr(axes, f"set_{which}lim")(*limits)
