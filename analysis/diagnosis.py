"""The figures of ``bench diagnose``: a forward model's errors, and gradients against the true one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from analysis.load import title
from analysis.plotting import FAINT, Style, dress, legend, panels, style_of
from analysis.statistics import Row
from analysis.wording import task_title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

GRADIENTS: dict[str, Style] = {
    "simulator": {"color": "#333333", "linestyle": (0, (1, 1.6)), "marker": "^", "label": "true simulator"},
    "mgail": {"color": "#0072B2", "linestyle": "-", "marker": "o", "label": "MGAIL"},
    "reinforce": {"color": "#D55E00", "linestyle": (0, (3, 1.2)), "marker": "s", "label": "REINFORCE"},
}


def draw(kind: str, subjects: Sequence[dict[str, Any]]) -> "Figure":
    """Draw `model` or `gradient` from its JSON's subjects."""
    return _models(subjects) if kind == "model" else _gradients(subjects)


def _models(subjects: Sequence[dict[str, Any]]) -> "Figure":
    """Draw errors against steps ahead."""
    present = list(dict.fromkeys(subject["name"] for subject in subjects))
    heading = f"Forward models on {_tasks(subjects)}: held-out data, open loop"
    figure, (errors, shares) = panels(2, heading, "dotted: the error of saying that nothing changes", 2)
    for subject in subjects:
        rows, style = subject["rows"], style_of(subject["name"], present)
        ahead = [row["k"] for row in rows]
        errors.plot(ahead, [row["rms"] for row in rows], **style)
        shares.plot(ahead, [row["unexplained"] for row in rows], **style)
        errors.plot(ahead, [row["rms_persistence"] for row in rows], color=FAINT, linestyle=(0, (1, 1.6)), zorder=1)
    for axes, label in ((errors, "rms error"), (shares, "unexplained share")):
        axes.set_yscale("log")
        _dress(axes, "steps ahead", label)
    legend(figure, {name: style_of(name, present) for name in present}, markers=True)
    return figure


def _gradients(subjects: Sequence[dict[str, Any]]) -> "Figure":
    """Draw cosine and variance against the horizon, a row of panels per training."""
    remark = "cosine: of one draw of noise; faint: of the mean over draws"
    heading = f"Gradients on {_tasks(subjects)} against the true simulator's"
    figure, axes = panels(2 * len(subjects), heading, remark, 2)
    for subject, cosine, variance in zip(subjects, axes[::2], axes[1::2], strict=True):
        for estimator, style in GRADIENTS.items():
            rows: list[Row] = [row for row in subject["rows"] if row["estimator"] == estimator]
            horizons = [row["horizon"] for row in rows]
            cosine.plot(horizons, [row["cosine"] for row in rows], **style)
            if estimator != "simulator":
                faint = {"color": style["color"], "linestyle": style["linestyle"], "alpha": 0.35}
                cosine.plot(horizons, [row["cosine_mean"] for row in rows], **faint)
            variance.plot(horizons, [row["relative_variance"] for row in rows], **style)
        variance.set_yscale("log")
        cosine.set_ylim(min(-0.05, cosine.get_ylim()[0]), 1)
        _dress(cosine, "horizon, steps", "cosine with the reference")
        _dress(variance, "horizon, steps", "variance / |reference|²")
        cosine.set_title(title(subject["name"]), fontsize=7, loc="left", pad=3)
    figure.legend(
        *axes[0].get_legend_handles_labels(),
        loc="center left",
        bbox_to_anchor=(0.003, 1 - 0.31 / figure.get_figheight()),
        ncols=3,
        frameon=False,
        fontsize=7,
    )
    return figure


def _tasks(subjects: Sequence[dict[str, Any]]) -> str:
    return ", ".join(dict.fromkeys(task_title(subject["task"]) for subject in subjects))


def _dress(axes: "Axes", xlabel: str, ylabel: str) -> None:
    """Dress a panel whose x axis is logarithmic."""
    from matplotlib.ticker import LogLocator, NullFormatter

    dress(axes, xlabel, ylabel)
    axes.set_xscale("log")
    axes.set_ylabel(ylabel, fontsize=6.5, labelpad=2)
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    if axes.get_yscale() == "log":
        low, high = axes.get_ylim()
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0,) if high > 50 * low else (1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(NullFormatter())
