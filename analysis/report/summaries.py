"""Scores against costs, effects of the tests, and interquartile means, as Vega-Lite specifications."""

import json
from collections.abc import Sequence

from analysis.load import title
from analysis.report.looks import FAINT, TICKED, Methods, Spec, nearest, panel, shortened
from analysis.statistics import POOLED, Row, winner
from analysis.wording import p_text, scope_text, task_title, verdict

IQM = (
    ("iqm", "interquartile mean"),
    ("iqm_low", "95 % interval, from"),
    ("iqm_high", "to"),
    ("mean", "mean of the cells"),
)


def costs(cells: Sequence[Row], methods: Methods, description: str) -> Spec:
    """Return score against what it cost, a point per entry."""
    points = [
        {
            "method": title(row["algorithm"]),
            "key": methods.key(row["algorithm"]),
            "entry": f"{task_title(row['task'])}, n={row['trajectories']}",
            "score": shortened(row["normalised"]),
            "core_s": shortened(row["core_s"]),
            "env_steps": shortened(row["env_steps"]),
            "seeds": row["n_seeds"],
        }
        for row in cells
        if row["normalised"] is not None
    ]
    x = {
        "field": "${cost}",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 12},
        "axis": {"format": "~s", "tickCount": 8},
        "title": "${cost.label}",
    }
    tooltip = [
        *({"field": name, "title": name} for name in ("method", "entry")),
        {"field": "score", "title": "normalised score", "format": ".3f"},
        {"field": "core_s", "title": "core-seconds a run", "format": ",.3~r"},
        {"field": "env_steps", "title": "environment steps a run", "format": ",.7~r"},
        {"field": "seeds", "title": "seeds"},
    ]
    layer = {
        "transform": [{"filter": "datum['${cost}'] > 0"}, TICKED],
        "mark": {"type": "point", "size": 70, "filled": True, "opacity": 0.75},
        "encoding": {
            "x": x,
            "y": {
                "field": "score",
                "type": "quantitative",
                "scale": {"zero": False},
                "title": "normalised score",
            },
            "color": methods.by("color"),
            "shape": methods.by("shape"),
            "tooltip": tooltip,
        },
    }
    return panel([layer], description, points, height=300)


def effects(tests: Sequence[Row], methods: Methods, description: str) -> Spec:
    """Return the effects of one comparison: a bar per pooled scope and task, and below a task's bar a point per cell.

    Args:
        tests: the two-sided rows of one comparison.
        methods: all methods of the report.
        description: what is read out instead of the chart.
    """
    places: list[str] = []
    points = []
    for row in tests:
        place = scope_text(row) if row["scope"] in POOLED else task_title(row["task"])
        places += [place] if place not in places else []
        if row["effect_rank_biserial"] is None:
            continue
        single = row["scope"] == "cell"
        sizes = sorted(
            {r["trajectories"] for r in tests if single and (r["scope"], r["task"]) == ("cell", row["task"])}
        )
        aside = (sizes.index(row["trajectories"]) + 1) / (len(sizes) + 1) if single else 0.0
        points.append(
            {
                "y": round(places.index(place) + (0.25 + 0.5 * aside if single else 0.5), 3),
                "over": scope_text(row),
                "single": single,
                "effect": shortened(row["effect_rank_biserial"]),
                "p": p_text(row["p_holm"]),
                "pairs": f"{row['n_pairs']} {'cells' if row['scope'] in POOLED else 'seeds'}",
                "finding": verdict(row),
                "color": _outcome_color(row, methods),
            }
        )
    a, b = (title(tests[0][side]) for side in ("a", "b"))
    x = {
        "field": "effect",
        "type": "quantitative",
        "scale": {"domain": [-1.06, 1.06], "nice": False},
        "axis": {"values": [-1, -0.5, 0, 0.5, 1], "format": ".1~f", "grid": True},
        "title": f"← {b}\u2003effect\u2003{a} →",
    }
    y = {
        "field": "y",
        "type": "quantitative",
        "scale": {"domain": [len(places), 0], "nice": False},
        "title": None,
        "axis": {
            **{"values": [i + 0.5 for i in range(len(places))], "labelOverlap": False, "grid": False},
            **{"ticks": False, "domain": False, "labelExpr": f"{json.dumps(places)}[floor(datum.value)]"},
        },
    }
    tooltip = [
        *({"field": name, "title": name} for name in ("over", "finding")),
        {"field": "effect", "title": "effect", "format": ".2f"},
        {"field": "p", "title": "p after Holm"},
        {"field": "pairs", "title": "pairs"},
    ]
    color = {"field": "color", "type": "nominal", "scale": None, "legend": None}
    shared = {"x": x, "y": y, "tooltip": tooltip, "color": color}
    layers: list[Spec] = [
        {"mark": {"type": "rule", "stroke": FAINT}, "data": {"values": [{}]}, "encoding": {"x": {"datum": 0}}},
        {
            "transform": [{"filter": "!datum.single"}],
            "mark": {"type": "tick", "orient": "vertical", "thickness": 4, "size": 20},
            "encoding": shared,
        },
        {
            "transform": [{"filter": "datum.single"}],
            "mark": {"type": "point", "filled": True, "size": 45, "opacity": 0.75},
            "encoding": shared,
        },
    ]
    return panel(layers, description, points, height=36 * len(places))


def aggregates(rows: Sequence[Row], methods: Methods, description: str) -> Spec:
    """Return the interquartile means of one scope with their intervals, a line per method."""
    points = [
        {"method": title(row["algorithm"])}
        | {name: shortened(row[name]) for name in ("iqm", "iqm_low", "iqm_high", "mean")}
        | {"runs": row["n_runs"], "cells": row["n_cells"]}
        for row in rows
    ]
    x = {
        "field": "iqm",
        "type": "quantitative",
        "scale": {"zero": False, "padding": 8},
        "title": "interquartile mean",
        "axis": {"grid": True, "tickCount": 5},
    }
    y = {"field": "method", "type": "nominal", "sort": None, "title": None, "axis": {"ticks": False, "domain": False}}
    tooltip = [
        {"field": "method", "title": "method"},
        *({"field": name, "title": text, "format": ".3f"} for name, text in IQM),
        {"field": "runs", "title": "runs"},
        {"field": "cells", "title": "cells"},
    ]
    shared = {"y": y, "color": methods.by("color"), "tooltip": tooltip}
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "strokeWidth": 6, "opacity": 0.35, "strokeCap": "round"},
            "encoding": shared | {"x": x | {"field": "iqm_low"}, "x2": {"field": "iqm_high"}},
        },
        {
            "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
            "encoding": shared | {"x": x, "shape": methods.by("shape")},
        },
    ]
    return panel(layers, description, points, height=26 * len(points))


def profiles(rows: Sequence[Row], methods: Methods, description: str) -> Spec:
    """Return the performance profiles of one scope: the share of runs above a score, a line per method."""
    points = [
        {"method": title(row["algorithm"]), "key": methods.key(row["algorithm"])}
        | dict(zip(("tau", "share", "low", "high"), map(shortened, point), strict=True))
        for row in rows
        for point in zip(row["tau"], row["share"], row["low"], row["high"], strict=True)
    ]
    x = {"field": "tau", "type": "quantitative", "title": "normalised score", "axis": {"tickCount": 6}}
    y = {"field": "share", "type": "quantitative", "axis": {"format": "%", "tickCount": 5}, "title": "runs above it"}
    tooltip = [
        {"field": "method", "title": "method"},
        {"field": "tau", "title": "runs with a score above", "format": ".2f"},
        *({"field": name, "title": text, "format": ".0%"} for name, text in _SHARE),
    ]
    shared = {"x": x, "color": methods.by("color")}
    layers: list[Spec] = [
        {"mark": {"type": "area", "opacity": 0.14}, "encoding": {"y": y | {"field": "low"}, "y2": {"field": "high"}}},
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": y, "strokeDash": methods.by("dash")}},
        nearest(y, tooltip),
    ]
    for layer in layers:
        layer |= {"transform": [TICKED], "encoding": shared | layer["encoding"]}
    return panel(layers, description, points)


_SHARE = (("share", "share"), ("low", "95 % interval, from"), ("high", "to"))


def _outcome_color(row: Row, methods: Methods) -> str:
    best = winner(row)
    if best is None:
        return FAINT
    return f"var(--series-{methods.slot(best)})" if best in methods.names else "var(--ink)"
