"""Table 1, the tests and what is missing, for a terminal of 120 columns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text as Styled

from analysis import interactions, tables
from analysis.markup import Field, Grid, as_text, plain
from analysis.statistics import POOLED
from analysis.wording import conclusions, grouped, scope_text

if TYPE_CHECKING:
    from analysis.compare import Comparison
    from analysis.document import Document

WIDTH = 120
TOO_WIDE = ("zeros", "W", "mean a", "mean b", "median a − b", "scale", "note")  # of the tests


def show(document: "Document", parts: Sequence[str]) -> None:
    """Print the parts; as wide as the terminal, or 120 columns where there is none."""
    console = _console()
    if "table1" in parts:
        console.print(_table(tables.overview(document.cells), f"Table 1{document.results.caution}"))
        for line in tables.notes(document.cells, document.results):
            console.print(Styled("· " + plain(line), style="dim"))
        if controls := tables.controls_grid(document.cells):
            console.print(_table(controls, "Without an expert"))
        _lines(console, "Not run", tables.not_run(document.cells))
        console.print()
    if "wilcoxon" in parts:
        shown = [
            row for row in document.tests if row["scope"] in (*POOLED, "task") and row["alternative"] == "two-sided"
        ]
        if shown:
            console.print(
                _table(
                    _without(tables.tests_grid(shown), TOO_WIDE),
                    f"Wilcoxon signed-rank tests, two-sided, a − b{document.results.caution}",
                )
            )
        _lines(
            console, "In words", conclusions(document.tests) or ["No two methods that are to be compared have runs."]
        )
    if "interactions" in parts and document.interactions:
        heading = f"Until {interactions.LEVEL:g} of the expert{document.results.caution}"
        console.print(_table(interactions.grid(document.interactions), heading))
        for line in interactions.NOTES:
            console.print(Styled("· " + line, style="dim"))
    if "figure5" in parts and not len(document.results.curves):
        _lines(console, "Figure 5", ["not drawn: a table of final episodes holds no learning curves"])
    _lines(console, "Left out, missing or uneven", grouped(document.results.problems))


def show_comparison(comparison: "Comparison") -> None:
    """Print what `bench compare` found."""
    console = _console()
    narrow = ("same", "effect", "shift", "p", "settings, note")
    for heading, grid, lines in comparison.sections():
        if grid:
            console.print(_table(_without(grid, narrow), heading or "Entry by entry, a − b"))
        _lines(console, "In words" if grid else heading, lines)
    changed = [row for row in comparison.cells if row["changed"]]
    texts = [f"{row['algorithm']}, {scope_text(row)}: {row['changed']}" for row in changed]
    _lines(console, "Settings that differ", texts)


def _console() -> Console:
    console = Console(highlight=False, soft_wrap=False)
    if not console.is_terminal:
        console.width = WIDTH
    return console


def _without(grid: Grid, headers: Sequence[str]) -> Grid:
    """Return the grid with what there is room for; the files have all of it."""
    kept = [i for i, column in enumerate(grid.columns) if column.header not in headers]
    return Grid([grid.columns[i] for i in kept], [[row[i] for i in kept] for row in grid.rows], grid.rules)


def _table(grid: Grid, title: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, padding=(0, 1), pad_edge=False)
    for column in grid.columns:
        table.add_column(column.header, justify=column.align, overflow="fold", vertical="top")
    for i, row in enumerate(grid.rows):
        if i and i in grid.rules:
            table.add_section()
        table.add_row(*(_styled(field) for field in row))
    return table


def _styled(field: Field) -> Styled:
    part = as_text(field)
    style = "bold" if part.bold else "dim" if part.text == "not run" else ""
    text = Styled(part.text, style=style)
    return text.append("\n" + part.second, style="dim") if part.second else text


def _lines(console: Console, heading: str, lines: Sequence[str]) -> None:
    if lines and heading:
        console.print(f"\n[bold]{heading}[/bold]")
    for line in lines:
        console.print(Styled(plain(line)), soft_wrap="bench run" in line)
