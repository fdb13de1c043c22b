"""Everything that is rendered from one set of results: computed once, written in every format."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import aggregates, figure5, statistics, table1, tables
from analysis.load import Results
from analysis.markup import TEX_PACKAGES, Grid, csv_rows, html_inline, html_page, html_table, latex, markdown
from analysis.statistics import Row
from analysis.wording import conclusions, grouped
from bench.errors import UserError

FORMATS = ("md", "csv", "tex", "html", "json")
TITLES = {"table1": "Table 1", "figure5": "Figure 5", "wilcoxon": "Wilcoxon signed-rank tests"}
CAPTIONS = {"table1": "Return of every entry; below it the paper's", "wilcoxon": "Wilcoxon signed-rank tests"}
PAPER_NOTE = (
    "The paper says: a Wilcoxon signed-rank test indicates superior performance with p < 0.05; what was paired is not "
    "said. These are the tests that its printed means allow, with cells as pairs."
)


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
        curves: learning curves.
    """

    results: Results
    cells: list[Row]
    tests: list[Row]
    paper: list[Row]
    aggregates: list[Row]
    improvements: list[Row]
    curves: list[Row]

    @classmethod
    def build(cls, results: Results, compare: Sequence[str] = ()) -> "Document":
        """Compute everything; a `UserError` says what is wrong with `compare`."""
        pairs = statistics.comparisons(results, compare)
        tests = statistics.tests(results, pairs)
        return cls(
            results=results,
            cells=_settled(table1.entries(results, tests)),
            tests=_settled(tests),
            paper=[] if results.foreign else _settled(statistics.paper_tests()),
            aggregates=_settled(aggregates.aggregates(results)),
            improvements=_settled(aggregates.improvements(results, pairs)),
            curves=_settled(figure5.curves(results)),
        )

    def write(self, directory: Path, parts: Sequence[str], formats: Sequence[str] = FORMATS) -> list[str]:
        """Write the parts into a folder, all of them or none, and return the names of the files."""
        written = self.contents(parts, formats)
        write_files(directory, written)
        return list(written)

    def contents(self, parts: Sequence[str], formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
        """Return the files of the parts by name."""
        files: dict[str, bytes] = {}
        for part in parts:
            if part == "figure5":
                if len(self.results.curves):
                    files |= figure5.images(self.results, self.curves)
            else:
                files |= {f"{part}.{kind}": self.text([part], kind).encode() for kind in formats}
        return files

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

    def sections(self, part: str) -> list[tuple[str, Grid | None, list[str]]]:
        """Return the sections of a part: heading, table or none, and lines of text below it."""
        if part == "table1":
            found: list[tuple[str, Grid | None, list[str]]] = [
                ("", tables.overview(self.cells), tables.notes(self.cells, self.results)),
                ("Every entry", tables.entries_grid(self.cells), []),
            ]
            if self.aggregates:
                text = ["Of normalised scores, over all runs; interval by bootstrap over seeds, stratified by cell."]
                found.append(("Over all cells", tables.aggregates_grid(self.aggregates), text))
            if missing := tables.not_run(self.cells):
                found.append(
                    (
                        "Not run",
                        None,
                        [*missing, "Forecasts: 11 seeds, each at the cost of the same method on the same task."],
                    )
                )
        elif part == "wilcoxon":
            pooled = [row for row in self.tests if row["scope"] != "cell"]
            single = [row for row in self.tests if row["scope"] == "cell"]
            if not self.tests:
                return [("", None, ["No two methods that are to be compared have runs."])]
            found = [("", tables.tests_grid(pooled), conclusions(self.tests) + _EXPLAINED)]
            found.append(("Cell by cell", tables.tests_grid(single), []))
            text = [
                "P(a > b): that a run of a beats a run of b on the same cell, ties counting half; bootstrap interval."
            ]
            found.append(("Probability of improvement", tables.improvements_grid(self.improvements), text))
            if self.paper:
                found.append(("The paper's own claim", tables.tests_grid(self.paper), [PAPER_NOTE]))
        else:
            return []
        if self.results.problems:
            found.append(("Left out, missing or uneven", None, grouped(self.results.problems)))
        return found

    def _markdown(self, parts: Sequence[str]) -> str:
        pages = []
        for part in parts:
            blocks = [f"# {self._title(part)}\n", f"{self.source_line}\n"]
            if part == "figure5":
                blocks.append("![Return against environment steps](figure5.png)\n")
            for heading, grid, lines in self.sections(part):
                blocks += [f"## {heading}\n"] if heading else []
                blocks += [markdown(grid)] if grid else []
                blocks += ["".join(f"- {line}\n" for line in lines)] if lines else []
            pages.append("\n".join(blocks))
        return "\n".join(pages)

    def _csv(self, parts: Sequence[str]) -> str:
        return "\n".join(csv_rows(self._rows(part), self._columns(part)) for part in parts)

    def _rows(self, part: str) -> list[Row]:
        if part == "figure5":
            keys = ("env_steps", "mean", "low", "high")
            return [
                {**{name: row[name] for name in row if name not in keys}, **dict(zip(keys, point, strict=True))}
                for row in self.curves
                for point in zip(*(row[key] or [None] * len(row["mean"]) for key in keys), strict=True)
            ]
        return self.cells if part == "table1" else self.tests

    def _columns(self, part: str) -> list[str]:
        if part == "table1":
            return list(self.cells[0])
        if part == "wilcoxon":
            return list(statistics.paper_tests()[0])
        return ["task", "trajectories", "algorithm", "n_seeds", "env_steps", "mean", "low", "high"]

    def _latex(self, parts: Sequence[str]) -> str:
        pages = [TEX_PACKAGES + "\n"]
        for part in parts:
            if part == "figure5":
                pages.append(_TEX_FIGURE % self.results.caution)
                continue
            for i, (heading, grid, lines) in enumerate(self.sections(part)):
                if grid:
                    caption = f"{heading or CAPTIONS[part]}. {self.source_line}"
                    pages.append(latex(grid, caption, f"tab:{part}" + (f"-{i}" if i else ""), lines))
        return "\n".join(pages)

    def _html(self, parts: Sequence[str]) -> str:
        blocks = []
        for part in parts:
            blocks += [f"<h1>{self._title(part)}</h1>\n<p>{self.source_line}</p>\n"]
            if part == "figure5":
                blocks.append('<img src="figure5.png" alt="Return against environment steps" width="100%">\n')
            for heading, grid, lines in self.sections(part):
                blocks += [f"<h2>{heading}</h2>\n"] if heading else []
                blocks += [html_table(grid)] if grid else []
                items = "".join(f"<li>{html_inline(line)}</li>\n" for line in lines)
                blocks += [f"<ul>\n{items}</ul>\n"] if lines else []
        return html_page(" · ".join(map(self._title, parts)), "".join(blocks))

    def _json(self, parts: Sequence[str]) -> str:
        content: dict[str, Any] = {}
        if "table1" in parts:
            content |= {"cells": self.cells, "aggregates": self.aggregates}
        if "wilcoxon" in parts:
            content |= {"tests": self.tests, "improvements": self.improvements, "paper": self.paper}
        if "figure5" in parts:
            content |= {"curves": self.curves}
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


def _settled(value: Any) -> Any:
    """Return rows as they are written: 12 digits, so that no processor's last bit shows; None for what is no number."""
    if isinstance(value, dict):
        return {key: _settled(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_settled(part) for part in value]
    if not isinstance(value, float):
        return value
    return float(f"{value:.12g}") if math.isfinite(value) else None


_EXPLAINED = [
    "Differences are a − b. W: min(W+, W−) two-sided, W+ one-sided; zeros dropped, mid-ranks for ties; p is exact (all "
    "sign flips) up to 50 nonzero pairs, else asymptotic. p, Holm: two-sided, within comparison and scope.",
    "Effect: matched-pairs rank-biserial correlation, from −1 (b better in every pair) to 1. Shift: Hodges-Lehmann, "
    "with its exact interval from 6 nonzero pairs on. Pairs: seeds in a cell or task; cells in all, continuous and "
    "discrete. A test over cells takes them as independent, although the cells of a task share expert and seeds.",
]
_TEX_FIGURE = r"""\begin{figure*}
\centering\includegraphics[width=\textwidth]{figure5.pdf}
\caption{MGAIL with the basic and the advanced forward model: return of the deterministic policy against environment
steps; mean over seeds and its 95\,\%% bootstrap interval%s.}\label{fig:figure5}
\end{figure*}
"""
