"""A `Document` -> the page."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from analysis import interactions, tables
from analysis.document import Document
from analysis.load import algorithm_order, control_of, title
from analysis.markup import html_inline
from analysis.report import sheets
from analysis.report.looks import DASHES, OUTLINES, SHAPES, Methods
from analysis.report.panels import Panels
from analysis.report.sources import provenance
from analysis.report.words import comparisons
from analysis.wording import (
    CONTROLS_NOTE,
    EXPLAINED,
    FORECAST_NOTE,
    PAPER_NOTE,
    duration,
    grouped,
    number,
    paper_conclusions,
    short,
    task_title,
)
from bench import __version__
from bench.errors import UserError
from bench.tasks import TASKS

RANKS = ("the task's smallest number", "its second", "its third", "its fourth")


def render(document: Document, strips: Mapping[str, bytes]) -> bytes:
    """Return the page; the same document and strips give the same bytes.

    Args:
        document: everything that was computed.
        strips: pictures (PNG) by name, such as ``hopper`` or ``hopper-mgail-basic``.
    """
    import vl_convert

    environment = Environment(
        loader=PackageLoader("analysis.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        **{"number": number, "short": short, "title": title, "task": task_title, "inline": html_inline},
        **{"json": _json, "tip": sheets.tip, "standing": tables.standing, "flagged": tables.flagged},
    }
    content = _content(document, strips)
    page = environment.get_template("page.html").render(
        content, vega=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    )
    return page.encode()


def read_strips(directory: Path) -> dict[str, bytes]:
    """Return the pictures (PNG) of a folder by name; the tasks' own first, in their order.

    Raises:
        UserError: the folder cannot be read.
    """

    def order(name: str) -> tuple[int, str]:
        task = name.partition("-")[0]
        return (list(TASKS).index(task) if task in TASKS else len(TASKS), name)

    try:
        found = {path.stem: path.read_bytes() for path in directory.glob("*.png")}
    except OSError as error:
        raise UserError(f"cannot read {directory}: {error.strerror or error}") from None
    if not found:
        raise UserError(f"{directory} holds no film strips (*.png); `bench watch` makes them")
    return {name: found[name] for name in sorted(found, key=order)}


def _json(content: Any) -> str:
    """Return JSON that may stand in a script element, whatever the names in it."""
    return json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")


def _content(document: Document, strips: Mapping[str, bytes]) -> dict[str, Any]:
    """Return all that the page says."""
    results, cells = document.results, document.cells
    tasks = list(dict.fromkeys(row["task"] for row in cells))
    listed = sorted({row["algorithm"] for row in cells}, key=algorithm_order)
    methods = Methods([name for name in listed if control_of(name) is None])
    sizes = {task: list(dict.fromkeys(row["trajectories"] for row in cells if row["task"] == task)) for task in tasks}
    panels = Panels(document, methods, sizes)
    told = comparisons(document.tests, document.improvements)
    return {
        "title": ("Imitation benchmark" if results.foreign else "MGAIL benchmark") + results.caution,
        "source_line": document.source_line,
        "version": __version__,
        "foreign": results.foreign,
        "methods": [{"name": name, "key": methods.key(name)} for name in methods.names],
        "slots": {name: methods.slot(name) for name in methods.names},
        "keys": [(" ".join(map(str, dash)), OUTLINES[shape]) for dash, shape in zip(DASHES, SHAPES, strict=True)],
        "named_tasks": [(task, task_title(task)) for task in tasks],
        "named_methods": [(name, title(name)) for name in listed],
        "named_pairs": [(f"{each.a}:{each.b}", f"{title(each.a)} against {title(each.b)}") for each in told],
        "named_ranks": list(enumerate(RANKS[: max(map(len, sizes.values()))])),
        "tiles": _tiles(document),
        "comparisons": [(each, panels.effects(each.tests)) for each in told],
        "aggregates": panels.aggregates(),
        "overview": sheets.overview(cells, methods.names),
        "marks": tables.MARKS,
        "notes": tables.notes(cells, results),
        "entries": sheets.entries(cells),
        "controls": tables.controls_grid(cells),
        "controls_note": CONTROLS_NOTE,
        "curves": panels.curves(),
        "figure5": len(document.curves) > 0,
        "sizes": panels.sizes(),
        "scored": any(row["normalised"] is not None for row in cells),
        "profiles": panels.profiles(),
        "tests": sheets.tests(document.tests),
        "explained": EXPLAINED,
        "paper": sheets.tests(document.paper),
        "paper_said": [PAPER_NOTE, *paper_conclusions(document.paper)],
        "costs": sheets.costs(cells),
        "cost_chart": panels.costs(),
        "arrivals": sheets.arrivals(document.interactions),
        "level": interactions.LEVEL,
        "arrivals_notes": interactions.NOTES,
        "strips": [_strip(name, content) for name, content in strips.items()],
        "missing": tables.not_run(cells),
        "forecast_note": FORECAST_NOTE,
        "problems": grouped(results.problems),
        "provenance": provenance(results),
        "specs": panels.specs,
    }


def _tiles(document: Document) -> list[tuple[str, str]]:
    """Return the few numbers that say how much there is."""
    runs, cells = document.results.runs, [row for row in document.cells if control_of(row["algorithm"]) is None]
    done = sum(1 for row in cells if row["n_seeds"])
    tiles = [
        (f"{done} of {len(cells)}", "entries run"),
        (f"{len(runs):,}", "runs"),
        (f"{len(document.results.episodes):,}", "final episodes"),
    ]
    if runs["env_steps"].notna().any():
        tiles.append((f"{runs['env_steps'].sum() / 1e6:,.0f} M", "environment steps"))
    if runs["core_s"].notna().any():
        tiles.append((duration(float(runs["core_s"].sum())), "of one core"))
    return tiles


def _strip(name: str, content: bytes) -> dict[str, str]:
    """Return a film strip as the page shows it."""
    task, _, policy = name.partition("-")
    return {
        "task": task_title(task),
        "who": policy.replace("-", " ") or "expert",
        "data": base64.b64encode(content).decode(),
    }
