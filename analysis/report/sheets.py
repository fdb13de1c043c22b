"""The report's tables: rows of fields, and behind each field the number by which it is sorted."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from analysis import interactions, tables
from analysis.load import algorithm_order, title
from analysis.markup import Column, Field, Grid, Text, as_text, changes
from analysis.statistics import LEVEL, Row
from analysis.wording import duration, number, p_text, task_title

# Which number of a row stands behind a column, by its header; of arrivals, whose headers are not unique, in order.
ENTRIES = {
    **{"task": "place", "n": "trajectories", "method": "rank", "seeds": "n_seeds", "mean": "mean"},
    **{"± seeds": "std_seeds", "± episodes": "std_episodes", "normalised": "normalised"},
    **{"to mean action": "normalised_deterministic", "paper": "paper_mean", "± paper": "paper_std"},
    **{"paper, normalised": "paper_normalised", "environment steps": "env_steps", "core time": "core_s"},
    **{"core-hours, all seeds": "hours"},
}
TESTS = {
    **{"over": "place", "pairs": "n_pairs", "zeros": "n_zero", "W": "statistic", "p": "p_value", "p, Holm": "p_holm"},
    **{"effect": "effect_rank_biserial", "shift": "shift_hodges_lehmann", "mean a": "mean_a", "mean b": "mean_b"},
    **{"median a − b": "median_difference"},
}
ARRIVALS = (
    *("place", "trajectories", "rank", "n_arrived", "env_steps", "env_steps_slowest", "core_min", "core_min_slowest"),
    *("budget_env_steps", "budget_core_min", "score", "score_worst"),
)
COSTS = {
    **{"task": "place", "method": "rank", "runs": "runs", "normalised": "normalised"},
    **{"environment steps a run": "env_steps", "core time a run": "core_s", "core time in all": "total"},
}
_UNSORTED = ("95 % interval", "note")


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Attributes:
        fields: what is shown, each with the number it is sorted by (None: by its text, or last if it is a number's).
        names: what it is filtered by.
        row: what it was made of.
        rule: whether a rule stands above it.
    """

    fields: list[tuple[Text, float | None]]
    names: dict[str, str]
    row: Row
    rule: bool


@dataclass(frozen=True)
class Sheet:
    """A table with its columns, each with whether it can be sorted by."""

    columns: list[tuple[Column, bool]]
    lines: list[Line]


def sheet(
    grid: Grid, rows: Sequence[Row], keys: Mapping[str, str] | Sequence[str], names: Sequence[Mapping[str, str]] = ()
) -> Sheet:
    """Return a grid with the numbers behind it.

    Args:
        grid: what is shown.
        rows: what it was made of, row by row.
        keys: which number of a row stands behind a column: by the column's header, or one for each column.
        names: what the rows are filtered by.
    """
    columns = [(column, column.header not in _UNSORTED) for column in grid.columns]
    behind = [keys.get(column.header) for column in grid.columns] if isinstance(keys, Mapping) else list(keys)
    lines = []
    for i, (fields, row) in enumerate(zip(grid.rows, rows, strict=True)):
        values = [None if key is None else row[key] for key in behind]
        named = dict(names[i]) if names else {}
        lines.append(Line(list(zip(map(as_text, fields), values, strict=True)), named, row, i in grid.rules))
    return Sheet(columns, lines)


def entries(cells: Sequence[Row]) -> Sheet:
    """Return every entry with all its numbers."""
    rows = [row | {"hours": tables.hours(row)} for row in _ordered(cells)]
    names = [
        {
            "task": row["task"],
            "method": row["algorithm"],
            "status": (row["verdict"] or "unmatched") if row["n_seeds"] else "absent",
        }
        for row in cells
    ]
    return sheet(tables.entries_grid(cells), rows, ENTRIES, names)


def _ordered(rows: Sequence[Row]) -> list[Row]:
    """Return the rows with their ``place`` in the table and the ``rank`` of their method, which sort as people do."""
    ranks = {name: i for i, name in enumerate(sorted({row["algorithm"] for row in rows}, key=algorithm_order))}
    return [{**row, "place": i, "rank": ranks[row["algorithm"]]} for i, row in enumerate(rows)]


def tests(found: Sequence[Row]) -> Sheet:
    """Return all tests."""
    names = [
        {
            "pair": f"{row['a']}:{row['b']}",
            "scope": row["scope"] if row["scope"] in ("task", "cell") else "pooled",
            "question": row["alternative"],
            "outcome": "open" if row["p_holm"] is None or row["p_holm"] >= LEVEL else "decided",
        }
        for row in found
    ]
    return sheet(tables.tests_grid(found), [{**row, "place": i} for i, row in enumerate(found)], TESTS, names)


def arrivals(rows: Sequence[Row]) -> Sheet:
    """Return what methods take until they are about as good as the expert."""
    return sheet(interactions.grid(rows), _ordered(rows), ARRIVALS)


def costs(cells: Sequence[Row]) -> Sheet | None:
    """Return what a run of each method costs on each task, means over the sizes that were run; None if nobody knows."""
    by_task: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in cells:
        if row["n_seeds"] and row["core_s"] is not None:
            by_task[row["task"], row["algorithm"]].append(row)
    rows: list[Row] = [
        {"task": task, "algorithm": algorithm}
        | {"runs": sum(row["n_seeds"] for row in group), "total": sum(row["n_seeds"] * row["core_s"] for row in group)}
        | {key: _mean(group, key) for key in ("env_steps", "core_s", "normalised")}
        for (task, algorithm), group in by_task.items()
    ]
    columns = [Column(header, "left" if header in ("task", "method") else "right") for header in COSTS]
    fields: list[list[Field]] = [
        [
            *(task_title(row["task"]), title(row["algorithm"]), str(row["runs"]), number(row["normalised"], 3)),
            *(number(row["env_steps"], 0), duration(row["core_s"]), duration(row["total"])),
        ]
        for row in rows
    ]
    grid = Grid(columns, fields, changes(row["task"] for row in rows))
    return sheet(grid, _ordered(rows), COSTS) if rows else None


def _mean(rows: Sequence[Row], key: str) -> float | None:
    values = [row[key] for row in rows if row[key] is not None]
    return sum(values) / len(values) if values else None


def overview(cells: Sequence[Row], names: Sequence[str]) -> list[dict[str, Any]]:
    """Return Table 1 as people know it: a row per cell, an entry per method, None where there is no such entry."""
    rows = []
    for (task, n), group in groupby(cells, key=lambda row: (row["task"], row["trajectories"])):
        of_cell = {row["algorithm"]: row for row in group}
        rows.append({"task": task, "n": n, "entries": [of_cell.get(name) for name in names]})
    return rows


def tip(row: Row) -> str:
    """Return the raw numbers of an entry, a line each."""
    lines = [
        f"{title(row['algorithm'])}, {task_title(row['task'])}, n={row['trajectories']}",
        f"return {number(row['mean'])}, ± {number(row['std_seeds'])} over {row['n_seeds']} seeds, "
        f"± {number(row['std_episodes'])} over {row['n_episodes']} episodes",
    ]
    if row["normalised"] is not None:
        lines.append(f"normalised {number(row['normalised'], 3)}")
    if row["paper_mean"] is not None:
        lines.append(
            f"paper {number(row['paper_mean'])} ± {number(row['paper_std'])}, "
            f"normalised {number(row['paper_normalised'], 3)}"
        )
    if row["verdict"]:
        lines.append(f"against the paper: {row['verdict']}, p = {p_text(row['verdict_p'])}")
    if row["env_steps"] is not None:
        lines.append(f"{number(row['env_steps'], 0)} environment steps, {duration(row['core_s'])} of one core a run")
    return "\n".join(lines)
