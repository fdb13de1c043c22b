"""Everything that is rendered from one set of results: computed once, written in every format."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import FORMATS, aggregates, figure5, figures, interactions, statistics, table1, tables
from analysis.load import Results
from analysis.markup import TEX_PACKAGES, Section, csv_rows, html_body, html_page, latex_page, markdown_page
from analysis.statistics import Row
from analysis.wording import (
    CONTROLS_NOTE,
    EXPLAINED,
    FORECAST_NOTE,
    PAPER_NOTE,
    PICTURES,
    conclusions,
    grouped,
    paper_conclusions,
)
from bench.errors import UserError

TITLES = {
    "table1": "Table 1",
    "figure5": "Figure 5",
    "figures": "Further figures",
    "wilcoxon": "Wilcoxon signed-rank tests",
    "interactions": "Environment steps until 0.9 of the expert",
}
CAPTIONS = {
    "table1": "Return of every entry; below it the paper's",
    "wilcoxon": "Wilcoxon signed-rank tests",
    "interactions": "Environment steps and core-minutes until 0.9 of the expert",
}


@dataclass(frozen=True)
class Document:
    """The rows behind every format.

    Attributes:
        results: what was loaded.
        cells: entries of Table 1.
        tests: signed-rank tests.
        paper: the same tests on the paper's printed means; none for foreign results.
        aggregates: interquartile means.
        improvements: probabilities of improvement.
        curves: learning curves of Figure 5.
        figures: rows of the further figures, by their names.
        interactions: what methods take until 0.9 of the expert.
    """

    results: Results
    cells: list[Row]
    tests: list[Row]
    paper: list[Row]
    aggregates: list[Row]
    improvements: list[Row]
    curves: list[Row]
    figures: dict[str, list[Row]]
    interactions: list[Row]

    @classmethod
    def build(cls, results: Results, compare: Sequence[str] = ()) -> "Document":
        """Compute everything; a `UserError` says what is wrong with `compare`."""
        pairs = statistics.comparisons(results, compare)
        tests = statistics.tests(results, pairs)
        return cls(
            results=results,
            cells=settled(table1.entries(results)),
            tests=settled(tests),
            paper=[] if results.foreign else settled(statistics.paper_tests()),
            aggregates=settled(aggregates.aggregates(results)),
            improvements=settled(aggregates.improvements(results, pairs)),
            curves=settled(figure5.curves(results)),
            figures=settled(figures.rows_of(results)),
            interactions=settled(interactions.rows_of(results)),
        )

    def write(self, directory: Path, parts: Sequence[str], formats: Sequence[str] = FORMATS) -> list[str]:
        """Write the parts into a folder, all of them or none, and return the names of the files."""
        written = self.contents(parts, formats)
        write_files(directory, written)
        return list(written)

    def contents(self, parts: Sequence[str], formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
        """Return the files of the parts by name."""
        found: dict[str, bytes] = {}
        for part in parts:
            if part == "figures":
                found |= figures.images(self.results, self.figures)
            elif part == "figure5":
                if len(self.results.curves):
                    found |= figure5.images(self.results, self.curves)
            else:
                found |= {f"{part}.{kind}": self.text([part], kind).encode() for kind in formats}
                if part == "interactions":
                    found |= interactions.images(self.interactions, self.results.caution)
        return found

    def text(self, parts: Sequence[str], kind: str) -> str:
        """Return the parts in one format."""
        if kind == "json":
            return self._json(parts)
        return {"md": self._markdown, "csv": self._csv, "tex": self._latex, "html": self._html}[kind](parts)

    def show(self, parts: Sequence[str]) -> None:
        """Print the parts for people."""
        from analysis.terminal import show

        show(self, parts)

    @property
    def source_line(self) -> str:
        """What all this is made from, without saying where it lay."""
        runs, episodes = len(self.results.runs), len(self.results.episodes)
        return f"From {runs} run{'s' * (runs != 1)}, {episodes} final evaluation episodes{self.results.caution}."

    def _title(self, part: str) -> str:
        return TITLES[part] + self.results.caution

    def sections(self, part: str) -> list[Section]:
        """Return the sections of a part: heading, table or none, and lines of text below it."""
        if part == "table1":
            found: list[Section] = [
                ("", tables.overview(self.cells), tables.notes(self.cells, self.results)),
                ("Every entry", tables.entries_grid(self.cells), []),
            ]
            if controls := tables.controls_grid(self.cells):
                found.append(("Without an expert", controls, [CONTROLS_NOTE]))
            if self.aggregates:
                text = ["Of normalised scores, over all runs; interval by bootstrap over seeds, stratified by cell."]
                found.append(("Over all cells", tables.aggregates_grid(self.aggregates), text))
            if missing := tables.not_run(self.cells):
                found.append(
                    (
                        "Not run",
                        None,
                        [*missing, FORECAST_NOTE],
                    )
                )
        elif part == "wilcoxon":
            pooled = [row for row in self.tests if row["scope"] != "cell"]
            single = [row for row in self.tests if row["scope"] == "cell"]
            if not self.tests:
                return [("", None, ["No two methods that are to be compared have runs."])]
            found = [("", tables.tests_grid(pooled), conclusions(self.tests) + EXPLAINED)]
            found.append(("Cell by cell", tables.tests_grid(single), []))
            text = [
                "P(a > b): that a run of a beats a run of b on the same cell, ties counting half; bootstrap interval."
            ]
            found.append(("Probability of improvement", tables.improvements_grid(self.improvements), text))
            if self.paper:
                text = [PAPER_NOTE, *paper_conclusions(self.paper)]
                found.append(("The paper's own claim", tables.tests_grid(self.paper), text))
        elif part == "interactions":
            if not self.interactions:
                return [("", None, ["No method with learning curves."])]
            found = [("", interactions.grid(self.interactions), interactions.NOTES)]
        else:
            return []
        if self.results.problems:
            found.append(("Left out, missing or uneven", None, grouped(self.results.problems)))
        return found

    def pictures(self, part: str) -> dict[str, str]:
        """Return the pictures of a part, by the names of their files, with captions."""
        drawn = self.figures if part == "figures" else {}
        if part in ("figure5", "interactions"):
            drawn = {part: self.curves if part == "figure5" else interactions.drawn(self.interactions)}
        return {name: PICTURES[name] + self.results.caution for name, rows in drawn.items() if rows}

    def _markdown(self, parts: Sequence[str]) -> str:
        return "\n".join(
            markdown_page(self._title(part), self.source_line, self.sections(part), self.pictures(part))
            for part in parts
        )

    def _csv(self, parts: Sequence[str]) -> str:
        return "\n".join(csv_rows(self._rows(part), self._columns(part)) for part in parts)

    def _rows(self, part: str) -> list[Row]:
        if part == "figure5":
            return [point for row in self.curves for point in _points(row)]
        if part == "figures":
            drawn = [(name, row) for name, rows in self.figures.items() for row in rows]
            return [{"figure": name} | point for name, row in drawn for point in _points(row)]
        return {"table1": self.cells, "wilcoxon": self.tests, "interactions": self.interactions}[part]

    def _columns(self, part: str) -> list[str]:
        if part == "table1":
            return list(self.cells[0])
        if part == "wilcoxon":
            return list(statistics.paper_tests()[0])
        if part == "interactions":
            return list(self.interactions[0]) if self.interactions else ["task", "trajectories", "algorithm"]
        columns = ["task", "trajectories", "algorithm", "n_seeds", "env_steps", "mean", "low", "high"]
        return columns if part == "figure5" else ["figure", "scope", *columns, "n_cells", "tau", "share"]

    def _latex(self, parts: Sequence[str]) -> str:
        pages = [
            latex_page(part, CAPTIONS.get(part, ""), self.source_line, self.sections(part), self.pictures(part))
            for part in parts
        ]
        return "\n".join([TEX_PACKAGES + "\n", *filter(None, pages)])

    def _html(self, parts: Sequence[str]) -> str:
        blocks = [
            html_body(self._title(part), self.source_line, self.sections(part), self.pictures(part)) for part in parts
        ]
        return html_page(" · ".join(map(self._title, parts)), "".join(blocks))

    def _json(self, parts: Sequence[str]) -> str:
        content: dict[str, Any] = {}
        if "table1" in parts:
            content |= {"cells": self.cells, "aggregates": self.aggregates}
        if "wilcoxon" in parts:
            content |= {"tests": self.tests, "improvements": self.improvements, "paper": self.paper}
        if "figure5" in parts:
            content |= {"curves": self.curves}
        if "figures" in parts:
            content |= {"figures": self.figures}
        if "interactions" in parts:
            content |= {"interactions": self.interactions}
        content["problems"] = [vars(problem) for problem in self.results.problems]
        return json.dumps(content, indent=1, allow_nan=False) + "\n"


def write_files(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write files into a folder, all aside first and then renamed: a full disk leaves everything as it was."""
    aside = {directory / f"{name}.partial": directory / name for name in files}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        try:
            for path, content in zip(aside, files.values(), strict=True):
                path.write_bytes(content)
            for path, final in aside.items():
                path.replace(final)
        finally:
            for path in aside:
                path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write into {directory}: {error.strerror or error}") from None


def settled(value: Any) -> Any:
    """Return rows as they are written: 12 digits, so that no processor's last bit shows; None for what is no number."""
    if isinstance(value, dict):
        return {key: settled(part) for key, part in value.items()}
    if isinstance(value, list):
        return [settled(part) for part in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.12g}") if math.isfinite(value) else None


def _points(row: Row) -> Iterator[Row]:
    """Yield a curve's points one by one, each with what is common to them."""
    lists = {key: value for key, value in row.items() if isinstance(value, list)}
    common = {key: value for key, value in row.items() if key not in lists}
    for i in range(max(map(len, lists.values()))):
        yield common | {key: values[i] if i < len(values) else None for key, values in lists.items()}
