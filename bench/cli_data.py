"""Experts and demonstrations: ``bench expert``, ``bench dataset``."""

from typing import Any


def add_parsers(commands: Any) -> None:
    """Add the commands that make and check what the methods learn from."""
