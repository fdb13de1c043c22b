"""How all charts of the report look: a method's colour, dash and shape, axes, and the frame of a specification.

Colours are names of the page's style (``var(--series-1)``), so that a chart follows light and dark by itself. Words in
``${...}`` are put in by the page's script from the form beside the chart: ``${metric}`` the value of the field so
called, ``${metric.label}`` what stands there for people, ``${methods}`` the slots of the methods that are ticked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from analysis.load import METHODS, title
from analysis.statistics import Row

Spec = dict[str, Any]
SLOTS = 8  # colours, dashes and shapes of the page; further methods take them again in turn
# Dashes and shapes tell methods apart where colours cannot; the printed figures have the same.
DASHES: tuple[list[float], ...] = ([1.5, 2.5], [8, 2, 2, 2], [5, 2.5], [9, 3], [1, 0], [9, 3], [1, 0], [1.5, 2.5])
SHAPES = ("triangle-down", "triangle-up", "square", "diamond", "circle", "cross", "triangle-left", "triangle-right")
# The same shapes as SVG paths about (11, 5), for the keys beside names.
OUTLINES = {
    "circle": "M14 5a3 3 0 1 1-6 0a3 3 0 1 1 6 0Z",
    "square": "M8 2h6v6h-6Z",
    "diamond": "M11 1l4 4-4 4-4-4Z",
    "triangle-up": "M11 1.5l4 7h-8Z",
    "triangle-down": "M11 8.5l4-7h-8Z",
    "triangle-left": "M7.5 5l7-4v8Z",
    "triangle-right": "M14.5 5l-7-4v8Z",
    "cross": "M10 1.5h2v2.5h2.5v2h-2.5v2.5h-2v-2.5h-2.5v-2h2.5Z",
}
FAINT = "var(--faint)"
# Every spec is read out by its description; reading out each of hundreds of marks would help nobody.
CONFIG = {
    "background": None,
    "font": "system-ui, sans-serif",
    "mark": {"aria": False},
    "view": {"stroke": None},
    "text": {"fill": FAINT, "fontSize": 11},
    "axis": {
        **{"aria": False, "labelColor": FAINT, "titleColor": FAINT, "labelFontSize": 11, "titleFontSize": 11},
        **{"titleFontWeight": "normal", "gridColor": "var(--rule)", "domainColor": "var(--rule)"},
        **{"tickColor": "var(--rule)", "tickSize": 4, "labelPadding": 4, "labelOverlap": "greedy"},
        "labelSeparation": 9,
    },
    "axisX": {"grid": False, "titlePadding": 6},
}
TICKED = {"filter": "indexof('${methods}', '|' + datum.key + '|') >= 0"}


@dataclass(frozen=True)
class Methods:
    """The methods of a report, each with its slot of the style: the same colour, dash and shape in every chart."""

    names: Sequence[str]

    def key(self, name: str) -> int:
        """Return by which number the method is ticked."""
        return self.names.index(name)

    def slot(self, name: str) -> int:
        """Return the method's slot from 1 up: ours always have the same."""
        ours = list(METHODS) if any(each in METHODS for each in self.names) else []
        return [*ours, *(each for each in self.names if each not in METHODS)].index(name) % SLOTS + 1

    def by(self, look: str) -> Spec:
        """Return the encoding of the methods' ``color``, ``dash`` or ``shape``."""
        slots = [self.slot(name) for name in self.names]
        looks: dict[str, list[Any]] = {
            "color": [f"var(--series-{slot})" for slot in slots],
            "dash": [DASHES[slot - 1] for slot in slots],
            "shape": [SHAPES[slot - 1] for slot in slots],
        }
        scale = {"domain": [title(name) for name in self.names], "range": looks[look]}
        return {"field": "method", "type": "nominal", "scale": scale, "legend": None}


def shortened(value: float | None) -> float | None:
    """Return a number as far as a screen can show it."""
    return None if value is None else float(f"{value:.5g}")


def panel(layers: Sequence[Spec], description: str, points: Sequence[Row], height: int = 190) -> Spec:
    """Return a chart as wide as its place in the page.

    Args:
        layers: what is drawn, from back to front.
        description: what is read out instead of the chart.
        points: the rows of numbers that layers draw unless they bring their own.
        height: in pixels, without axes.
    """
    return {
        "config": CONFIG,
        "description": description,
        "width": "container",
        "height": height,
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 2, "right": 6, "top": 6, "bottom": 2},
        "data": {"values": list(points)},
        "layer": list(layers),
    }


_AS_TEXT = {"formatType": "toString", "format": ""}


def nearest(y: Spec, tooltip: Sequence[Spec]) -> Spec:
    """Return points of which the one nearest to the pointer is shown, and told of."""
    near = {"type": "point", "on": "pointerover", "clear": "pointerout", "nearest": True}
    return {
        "params": [{"name": "near", "select": near}],
        "mark": {"type": "point", "filled": True, "size": 60},
        "encoding": {
            "y": y,
            "opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0},
            # Without a format type, Vega-Lite looks for a field in the wrong place where the nearest is selected.
            "tooltip": [field if "format" in field else {**field, **_AS_TEXT} for field in tooltip],
        },
    }
