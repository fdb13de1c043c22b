"""Text in, text out: reading the values of flags, printing tables."""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


def names(text: str) -> list[str]:
    """Split a comma-separated list; each name counts once."""
    found = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise UserError(f"{text!r} holds no names")
    return found


def integer(text: str) -> int:
    """Read an integer from 0 up."""
    try:
        value = int(text)
    except ValueError:
        raise UserError(f"{text!r} is not an integer") from None
    if value < 0:
        raise UserError(f"{text!r} should not be negative")
    return value


def positive(text: str) -> int:
    """Read an integer from 1 up."""
    value = integer(text)
    if value == 0:
        raise UserError("0 is too few: at least one is needed")
    return value


MOST = 100_000
"""Integers in a range; more are a slip of the fingers."""


def integers(text: str) -> list[int]:
    """Read a list of integers: ``0,3,7`` or ``10-14``; each counts once."""
    values: list[int] = []
    for part in names(text):
        first, dash, last = part.partition("-")
        if not (dash and first):
            values.append(integer(part))
            continue
        if integer(last) - integer(first) >= MOST:
            raise UserError(f"{part!r} are too many: at most {MOST:,}")
        values += range(integer(first), integer(last) + 1)
    if not values:
        raise UserError(f"{text!r} holds no numbers")
    return list(dict.fromkeys(values))


def seeds(text: str, first: int = 0) -> list[int]:
    """Read run seeds: ``5`` means so many from `first` on; ``0,3,7`` and ``10-14`` mean themselves."""
    if "," in text or "-" in text[1:]:
        return integers(text)
    if not (count := integer(text)):
        raise UserError("--seeds 0 asks for no run, and at least one is needed (run seed 0 alone is --seeds 0,)")
    return list(range(first, first + count))


def setting(text: str, flag: str = "--set") -> tuple[str, Any]:
    """Read the ``key=value`` of a flag; the value is JSON if it can be read so, else a string."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UserError(f"{flag} {text}: should read key=value")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def add_command(commands: Any, name: str, summary: str, text: str) -> argparse.ArgumentParser:
    """Return the parser of a new command; `text` is shown as it is, lines and all."""
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    return parser


def console() -> "Console":
    """Return standard output; where that is no terminal, a line of a table is a line of text."""
    from rich.console import Console

    found = Console(markup=False, highlight=False)
    return found if found.is_terminal else Console(markup=False, highlight=False, width=200)


def grid(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> "Table":
    """Return a table to be printed to `console()`."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    shown = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*row)
    return shown


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to standard output."""
    console().print(grid(title, columns, rows))
