"""Return or score against environment steps and against the number of trajectories, as Vega-Lite specifications."""

from collections.abc import Sequence
from typing import Any

from analysis.load import title
from analysis.report.looks import FAINT, TICKED, Methods, Spec, nearest, panel, shortened
from analysis.statistics import Row

INTERVAL = [
    {"field": "${metric}_low", "title": "95 % interval, from", "format": ",.4~r"},
    {"field": "${metric}_high", "title": "to", "format": ",.4~r"},
]


def curve_rows(
    rows: Sequence[Row], sizes: Sequence[int], methods: Methods, known: dict[str, float] | None
) -> list[Row]:
    """Return a task's learning curves as one row per point, each with its return and, where known, its score.

    Args:
        rows: curves of one task (`series.learning_curves`).
        sizes: the task's numbers of trajectories.
        methods: all methods of the report.
        known: the task's expert and random return.
    """
    walked = [step for row in rows for step in row["env_steps"] if step] or [1.0]
    points = []
    for row in rows:
        steps, values = row["env_steps"], [row[name] for name in ("mean", "low", "high")]
        if not any(steps):  # from end to end, for no amount of interaction would change it
            steps, values = [0.0, min(walked), max(walked)], [column * 3 for column in values]
        for x, *point in zip(steps, *values, strict=True):
            entry = {
                "method": title(row["algorithm"]),
                "key": methods.key(row["algorithm"]),
                "size": sizes.index(row["trajectories"]),
                "seeds": row["n_seeds"],
                "steps": shortened(x),
            }
            points.append(entry | _scales(point, known))
    return points


def _scales(values: Sequence[float], known: dict[str, float] | None) -> Row:
    """Return mean, low and high as returns and as scores."""
    names = ("", "_low", "_high")
    row = {f"return{name}": shortened(value) for name, value in zip(names, values, strict=True)}
    if known is not None:
        span = known["expert"] - known["random"]
        row |= {
            f"score{name}": shortened((value - known["random"]) / span)
            for name, value in zip(names, values, strict=True)
        }
    return row


def curves(points: Sequence[Row], methods: Methods, known: dict[str, float] | None, description: str) -> Spec:
    """Return the panel of one task: return or score against environment steps."""
    x = {
        "field": "steps",
        "type": "quantitative",
        "scale": {"type": "${x}", "nice": False},
        "axis": {"format": "~s", "tickCount": 5},
        "title": "environment steps",
    }
    tooltip = [
        {"field": "method", "title": "method"},
        {"field": "steps", "title": "environment steps", "format": ",.4~r"},
        {"field": "${metric}", "title": "${metric.label}", "format": ",.4~r"},
        *INTERVAL,
        {"field": "seeds", "title": "seeds"},
    ]
    start = "'${x}' == 'linear' || datum.steps > 0"
    chosen = [{"filter": f"datum.size == ${{size}} && ({start})"}, TICKED]
    y = {"field": "${metric}", "type": "quantitative", "scale": {"zero": False}, "title": None}
    layers = [
        *_rules(known),
        {
            "mark": {"type": "area", "opacity": 0.14},
            "encoding": {"y": y | {"field": "${metric}_low"}, "y2": {"field": "${metric}_high"}},
        },
        {"mark": {"type": "line", "strokeWidth": 2}, "encoding": {"y": y, "strokeDash": methods.by("dash")}},
        nearest(y, tooltip),
    ]
    shared = {"x": x, "color": methods.by("color")}
    for layer in layers[-3:]:
        layer |= {"transform": chosen, "encoding": shared | layer["encoding"]}
    return panel(layers, description, points)


def sizes(
    rows: Sequence[Row], cells: Sequence[Row], methods: Methods, known: dict[str, float] | None, description: str
) -> Spec:
    """Return the panel of one task: final return or score against the number of expert trajectories.

    Args:
        rows: the task's entries (`series.final_scores`).
        cells: the task's entries in Table 1, for the paper's values.
        methods: all methods of the report.
        known: the task's expert and random return.
        description: what is read out instead of the chart.
    """
    listed = sorted({row["trajectories"] for row in (*rows, *cells)})
    # Side by side, lest intervals hide each other: by a sixtieth of the axis from method to method.
    step = (listed[-1] - listed[0] or 1) / 60
    middle = (len(methods.names) - 1) / 2

    def point(row: Row, **values: Any) -> Row:
        aside = step * (methods.names.index(row["algorithm"]) - middle)
        place = {"n": row["trajectories"], "x": shortened(row["trajectories"] + aside)}
        return place | {"method": title(row["algorithm"]), "key": methods.key(row["algorithm"]), **values}

    scales = ("return", "return_low", "return_high", "score", "score_low", "score_high")
    points = [
        point(row, source="measured here", seeds=row["n_seeds"], **{name: shortened(row[name]) for name in scales})
        for row in rows
    ]
    points += [
        point(row, source="the paper", score=shortened(row["paper_normalised"]), **{"return": None})
        for row in cells
        if row["paper_normalised"] is not None
    ]
    span = [listed[0] - step * len(methods.names), listed[-1] + step * len(methods.names)]
    x = {
        "field": "x",
        "type": "quantitative",
        "scale": {"domain": span, "nice": False},
        "axis": {"values": listed, "format": "d", "labelOverlap": False},
        "title": "expert trajectories",
    }
    y = {"field": "${metric}", "type": "quantitative", "scale": {"zero": False}, "title": None}
    tooltip = [
        {"field": "method", "title": "method"},
        {"field": "source", "title": "where"},
        {"field": "n", "title": "expert trajectories"},
        {"field": "${metric}", "title": "${metric.label}", "format": ",.4~r"},
        *INTERVAL,
        {"field": "seeds", "title": "seeds"},
    ]
    ours, theirs = "datum.source != 'the paper'", "datum.source == 'the paper' && '${metric}' == 'score' && ${paper}"
    shown = "isValid(datum['${metric}'])"
    layers = [
        *_rules(known),
        {"transform": [{"filter": f"{ours} && {shown}"}, TICKED], "mark": {"type": "rule", "strokeWidth": 1.4}}
        | {"encoding": {"y": y | {"field": "${metric}_low"}, "y2": {"field": "${metric}_high"}}},
        {"transform": [{"filter": f"{ours} && {shown}"}, TICKED], "mark": {"type": "line", "strokeWidth": 1.6}}
        | {"encoding": {"y": y, "strokeDash": methods.by("dash")}},
        {
            "transform": [{"filter": f"(({ours}) || ({theirs})) && {shown}"}, TICKED],
            "mark": {"type": "point", "size": 46, "filled": True, "opacity": 1, "strokeWidth": 1.4},
            "encoding": {
                "y": y,
                "shape": methods.by("shape"),
                "fill": {"condition": {"test": ours, **methods.by("color")}, "value": "var(--paper)"},
                "stroke": methods.by("color"),
                "tooltip": tooltip,
            },
        },
    ]
    for layer in layers[-3:]:
        layer["encoding"] = {"x": x, "color": methods.by("color")} | layer["encoding"]
    del layers[-1]["encoding"]["color"]
    return panel(layers, description, points)


def _rules(known: dict[str, float] | None) -> list[Spec]:
    """Return the lines of the expert and of the random policy."""
    if known is None:
        return []
    values = [
        {"who": "expert", "return": shortened(known["expert"]), "score": 1.0},
        {"who": "random", "return": shortened(known["random"]), "score": 0.0},
    ]
    y = {"field": "${metric}", "type": "quantitative"}
    rules: list[Spec] = [
        {"mark": {"type": "rule", "stroke": FAINT, "strokeDash": [2, 3], "strokeWidth": 1}, "encoding": {"y": y}}
    ]
    # Curves begin below the one and end above the other.
    for who, place in (
        ("expert", {"x": 3, "align": "left", "dy": -6}),
        ("random", {"x": {"expr": "width - 3"}, "align": "right", "dy": -6}),
    ):
        rules.append(
            {
                "transform": [{"filter": f"datum.who == '{who}'"}],
                "mark": {"type": "text", "text": who, **place},
                "encoding": {"y": y},
            }
        )
    return [{"data": {"values": values}, **rule} for rule in rules]
