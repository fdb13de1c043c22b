"""Every number in md, csv, tex, html and json is the same number: for the committed results and for made-up ones."""

import csv
import html
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis import tables
from analysis.committed import holds_results, read_results
from analysis.document import Document
from analysis.load import RESULTS
from analysis.markup import Field, Grid, Text
from analysis.records import read_runs

PARTS = ("table1", "wilcoxon")


@pytest.fixture(params=["committed", "made up"])
def document(request: pytest.FixtureRequest, write_run, tmp_path: Path) -> Document:
    """The committed results; or a few runs with a control, a mixed entry and an odd name."""
    if request.param == "committed":
        if not holds_results(RESULTS):
            pytest.skip("no results are published")
        return Document.build(read_results(RESULTS))
    for seed in range(7):
        for algorithm, score in (("bc", 900.0), ("gail-trpo", 3000.5), ("mgail-advanced", 3900.25), ("a_b&c", 1.0)):
            write_run(
                algorithm, "hopper", 4, seed, [score + seed * (-1) ** seed, score] * 25, references=(3600.0, 20.0)
            )
        write_run("gail-trpo", "hopper", 4, seed, [50.0 + seed] * 50, label="plus", references=(3600.0, 20.0))
    write_run("bc", "acrobot", 1, 0, [-80.0] * 50, references=(-78.0, -196.0))
    write_run("bc", "acrobot", 1, 1, [-90.0] * 50, references=(-78.0, -196.0), width=3)
    return Document.build(read_runs([tmp_path / "runs"]))


def plain(field: Field) -> str:
    part = field if isinstance(field, Text) else Text(field)
    return f"{part.text} {part.second}".strip()


def expected(document: Document, part: str) -> list[list[list[str]]]:
    """The tables of a part: fields as text, header first."""
    grids = [grid for _, grid, _ in document.sections(part) if grid]
    return [
        [[c.header for c in grid.columns], *([plain(field) for field in row] for row in grid.rows)] for grid in grids
    ]


def of_markdown(text: str) -> list[list[list[str]]]:
    found: list[list[list[str]]] = []
    lines = text.split("\n")
    for i, line in enumerate(lines):
        if not line.startswith("| ") or line.startswith("| :-") or line.startswith("| --:"):
            continue
        if lines[i + 1].startswith(("| :-", "| --:")):
            found.append([])
        cells = re.split(r"(?<!\\) \| ", line.removeprefix("| ").removesuffix(" |"))
        found[-1].append([c.replace("**", "").replace("<br>", " ").replace("\\|", "|").strip() for c in cells])
    return found


class _Tables(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[list[list[str]]] = []
        self.inside = False

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "table":
            self.found.append([])
        elif tag == "tr":
            self.found[-1].append([])
        elif tag in ("td", "th"):
            self.found[-1][-1].append("")
            self.inside = True
        elif tag == "br":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found[-1][-1][-1] += data


def of_html(text: str) -> list[list[list[str]]]:
    parser = _Tables()
    parser.feed(text)
    return [[[cell.strip() for cell in row] for row in table] for table in parser.found]


TEX = {
    r"\textbackslash{}": "\\",
    r"\textasciitilde{}": "~",
    r"\textasciicircum{}": "^",
    r"$\pm$": "±",
    r"\enspace{}": "\u2002",
    "$-$": "−",
    r"$\approx$": "≈",
    r"$\leq$": "≤",
    r"$\geq$": "≥",
    "$<$": "<",
    "$>$": ">",
    r"$\dagger$": "†",
    r"$\ddagger$": "‡",
    r"$\blacktriangle$": "▲",
    r"$\blacktriangledown$": "▼",
    **{f"\\{sign}": sign for sign in "%#_{}$&"},
}


def of_latex(text: str) -> list[list[list[str]]]:
    """The tables of a LaTeX file; the pages of one table put together."""
    found: list[list[list[str]]] = []
    for body, caption in re.findall(r"\\caption\{(?=(.*))(?:.|\n)*?\\toprule\n((?:.|\n)*?)\\bottomrule", text):
        rows = [line.removesuffix(r" \\") for line in caption.split("\n") if line and line != r"\midrule"]
        cells = [[_untex(cell) for cell in re.split(r"(?<!\\) & ", row)] for row in rows]
        found[-1:] = [found[-1] + cells[1:]] if ", continued.}" in body else [*found[-1:], cells]
    return found


def _untex(cell: str) -> str:
    cell = re.sub(r"\\shortstack\[r\]\{(.*)\\\\\{\\scriptsize (.*)\}\}$", r"\1 \2", cell)
    cell = re.sub(r"\\textbf\{(.*?)\}(?=$| )", r"\1", cell)
    for tex, sign in TEX.items():
        cell = cell.replace(tex, sign)
    return cell.replace("--", "–").strip()


@pytest.mark.parametrize("part", PARTS)
def test_the_tables_are_the_same_in_markdown_html_and_latex(document: Document, part: str) -> None:
    tables_of = expected(document, part)
    assert len(tables_of) >= 3
    assert of_markdown(document.text([part], "md")) == tables_of
    assert of_html(document.text([part], "html")) == tables_of
    assert of_latex(document.text([part], "tex")) == tables_of


def test_the_tables_hold_the_numbers_of_the_json(document: Document) -> None:
    """A table is a function of rows: from the rows in the JSON it comes out the same."""
    content = json.loads(document.text([*PARTS, "figure5", "figures"], "json"))

    def same(make, ours: list, theirs: list) -> None:
        one, other = make(ours), make(theirs)
        assert (one is None) == (other is None)
        assert isinstance(one, Grid | None)
        if one is not None:
            assert (one.columns, one.rows, one.rules) == (other.columns, other.rows, other.rules)

    for make in (tables.overview, tables.entries_grid, tables.controls_grid):
        same(make, document.cells, content["cells"])
    same(tables.tests_grid, document.tests, content["tests"])
    same(tables.tests_grid, document.paper, content["paper"])
    same(tables.aggregates_grid, document.aggregates, content["aggregates"])
    same(tables.improvements_grid, document.improvements, content["improvements"])
    assert content["curves"] == document.curves
    assert content["figures"] == document.figures


@pytest.mark.parametrize(("part", "key"), [("table1", "cells"), ("wilcoxon", "tests")])
def test_csv_and_json_agree_to_the_last_digit(document: Document, part: str, key: str) -> None:
    rows = json.loads(document.text([part], "json"))[key]
    table = list(csv.DictReader(io.StringIO(document.text([part], "csv"))))
    assert len(rows) == len(table) > 0
    for ours, theirs in zip(rows, table, strict=True):
        assert theirs == {name: "" if value is None else str(value) for name, value in ours.items()}


def test_the_points_of_the_figures_are_the_same_in_csv_and_json(document: Document) -> None:
    content = json.loads(document.text(["figures"], "json"))["figures"]
    table = list(csv.DictReader(io.StringIO(document.text(["figures"], "csv"))))
    for name, rows in content.items():
        mine = [row for row in table if row["figure"] == name]
        value = "share" if name == "profiles" else "mean"
        assert [float(row[value]) for row in mine] == [point for row in rows for point in row[value]]


def test_a_page_says_what_its_title_and_captions_say(document: Document) -> None:
    page = document.text(["figures"], "html")
    for name, text in document.pictures("figures").items():
        assert f'<img src="{name}.png" alt="{html.escape(text)}">' in page
        assert f"![{text}]({name}.png)" in document.text(["figures"], "md")
        assert rf"\includegraphics{{{name}.pdf}}" in document.text(["figures"], "tex")
