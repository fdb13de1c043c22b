"""Files that are never there half-written, and say in one clear line why they cannot be. Needs no torch."""

import contextlib
import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import UserError

SCHEMA = 1


class CannotWrite(UserError):
    """The file system refuses to write: it is full, read-only or not ours. No other run would fare better."""


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn what the file system refuses (full, read-only, no permission) into one clear line."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from error


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file aside and rename it into place, so that it is never there half-written."""
    partial = path.with_name(path.name + ".partial")
    with writing(path):
        try:
            with partial.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with its schema version first."""
    write_bytes(path, (json.dumps({"schema": SCHEMA, **content}, indent=1) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; a `UserError` names the file if it is none."""
    try:
        content = json.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError:
        raise UserError(f"{path} is not readable JSON; remove its folder to run it again") from None
    if not isinstance(content, dict) or content.get("schema") != SCHEMA:
        raise UserError(f"{path} is not of schema {SCHEMA}, the one this version reads and writes")
    return content


class CsvLog:
    """A CSV file that only grows, and can be cut back to a position it once had.

    Its header is fixed when the first row is written. Rows go straight to the file: a kill loses nothing written.

    Args:
        path: the file, made if missing.
        guard: called before rows are written; it raises if they may not be.
    """

    def __init__(self, path: Path, guard: Callable[[], None] = lambda: None):
        self.path, self._guard = path, guard
        self.header: tuple[str, ...] | None = None
        with writing(path):
            self._file = path.open("ab", buffering=0)

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append rows; all must have the header's columns, which is an error of the method otherwise."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        for row in rows:
            if self.header is None:
                self.header = tuple(row)
                writer.writerow(self.header)
            if tuple(row) != self.header:
                raise ValueError(f"{self.path.name} has columns {self.header}, not {tuple(row)}")
            writer.writerow("" if value != value else value for value in row.values())  # NaN: an empty field
        self._guard()
        left = memoryview(text.getvalue().encode())
        with writing(self.path):
            while left:
                left = left[self._file.write(left) :]

    def position(self) -> int:
        """Return the size in bytes, once it is safely on disk."""
        with writing(self.path):
            os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def cut(self, position: int) -> None:
        """Cut the file back to a position it once had."""
        if os.fstat(self._file.fileno()).st_size < position:
            raise UserError(f"{self.path} is shorter than its checkpoint says; remove its folder to run it again")
        with writing(self.path):
            self._file.truncate(position)
        if position:
            with self.path.open(newline="") as stream:
                self.header = tuple(next(csv.reader(stream)))
        else:
            self.header = None

    def close(self) -> None:
        """Close the file."""
        self._file.close()
