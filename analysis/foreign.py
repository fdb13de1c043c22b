"""A tidy CSV of anybody's episodes -> `Results`: columns algorithm, task, trajectories, seed, episode, return.

Optional columns: length, terminated; of the whole run env_steps, wall_s and core_s; the returns to normalise by,
expert, expert_deterministic and random (`bench.load` gives all of them). Other columns are ignored.
"""

import gzip
import io
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import CURVES, EPISODES, RUN, RUNS, Problem, Results, entry_name, tidy
from bench.errors import UserError

NAMES = ["algorithm", "task"]
WHOLE = ["trajectories", "seed", "episode"]
NEEDED = [*NAMES, *WHOLE, "return"]
OF_RUN = ["env_steps", "wall_s", "core_s", "expert", "expert_deterministic", "random"]


def read_episodes(path: Path) -> Results:
    """Read a tidy table of episodes, plain or gzipped.

    A row given twice counts once. Two different returns for one episode leave the whole run out. Both are listed.

    Raises:
        UserError: the file is missing, empty, not text, lacks a column, or holds something that is not a finite number.
    """
    table, problems = _without_doubles(_read(path))
    if table.empty:
        raise UserError(f"{path}: every run holds two different returns for one episode; nothing is left to analyse")
    grouped = table.groupby(RUN, sort=False)
    runs = grouped[OF_RUN].first()
    runs["n_episodes"] = grouped.size()
    span = grouped["episode"].max() - grouped["episode"].min() + 1
    gaps = span - runs["n_episodes"]
    for key in gaps[gaps > 0].index.tolist():
        problems.append(Problem("missing", entry_name(*key), f"{gaps[key]} episodes inside its numbering"))
    return tidy(
        f"{path}: {len(table)} episodes of {len(runs)} runs",
        table[EPISODES],
        runs.reset_index().reindex(columns=RUNS),
        pd.DataFrame(columns=CURVES),
        problems,
        foreign=True,
    )


def _read(path: Path) -> pd.DataFrame:
    """Return the checked columns of the file, one row per line, optional ones NaN where absent."""
    text = _text(path)
    try:
        raw = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, skip_blank_lines=False)
        first = pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False, header=None, nrows=1)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path} is not a CSV table: {str(error).splitlines()[0]}") from None
    if not isinstance(raw.index, pd.RangeIndex):
        raise UserError(f"{path} is not a CSV table: rows have more fields than the header")
    header = [name.strip() for name in first.iloc[0]]  # as written: pandas tells a second one apart by a number
    if doubled := [name for name in [*NEEDED, "length", "terminated", *OF_RUN] if header.count(name) > 1]:
        raise UserError(f"{path} has more than one column {', '.join(doubled)}")
    raw.columns = raw.columns.str.strip()
    if absent := [name for name in NEEDED if name not in raw.columns]:
        raise UserError(f"{path} lacks the column {', '.join(absent)}; needed: {', '.join(NEEDED)}")
    raw = raw[~(raw.isna() | (raw == "")).all(axis=1)]  # blank lines; the index still tells the line
    if raw.empty:
        raise UserError(f"{path} has a header but no rows")
    table = pd.DataFrame(index=raw.index)
    for name in NAMES:
        table[name] = raw[name].fillna("").str.strip()
        _refuse(path, name, raw[name], (table[name] == "").to_numpy())
    for name in [*WHOLE, "return", "length", *OF_RUN]:
        if name not in raw.columns:
            table[name] = np.nan
            continue
        values = pd.to_numeric(raw[name], errors="coerce")
        optional = name not in NEEDED
        bad = ~np.isfinite(values.to_numpy(np.float64)) & ~(optional & (raw[name].fillna("") == "").to_numpy())
        if name in WHOLE:
            bad |= (values % 1 != 0).to_numpy() | (values < 0).to_numpy()
        _refuse(path, name, raw[name], bad)
        # Python's own parser: to_numeric may differ from it in the last bit.
        table[name] = values.astype(np.int64) if name in WHOLE else raw[name].replace("", "nan").astype(np.float64)
    table["terminated"] = raw["terminated"] if "terminated" in raw.columns else None
    return table.reset_index(drop=True)


def _refuse(path: Path, name: str, column: pd.Series, bad: np.ndarray) -> None:
    """Raise a `UserError` that names the first bad line of a column."""
    if bad.any():
        first = int(np.argmax(bad))
        kind = {**dict.fromkeys(NAMES, "a name"), **dict.fromkeys(WHOLE, "a whole number from 0 up")}
        others = f" ({int(bad.sum()) - 1} more such lines)" if bad.sum() > 1 else ""
        raise UserError(
            f"{path}, line {column.index[first] + 2}: {name} is {column.iloc[first]!r}, "
            f"not {kind.get(name, 'a finite number')}{others}"
        )


def _text(path: Path) -> str:
    """Return the file's text, unpacked if it is gzipped."""
    try:
        content = path.read_bytes()
        if content.startswith(b"\x1f\x8b"):
            content = gzip.decompress(content)
        text = content.decode("utf-8-sig")
    except OSError as error:  # gzip.BadGzipFile is one too
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None
    except (EOFError, zlib.error, UnicodeDecodeError):
        raise UserError(f"{path} is neither text nor gzipped text") from None
    if "\0" in text:
        raise UserError(f"{path} is neither text nor gzipped text")
    if not text.strip():
        raise UserError(f"{path} is empty")
    return text


def _without_doubles(table: pd.DataFrame) -> tuple[pd.DataFrame, list[Problem]]:
    """Return the table with each episode once, and what was doubled."""
    problems: list[Problem] = []
    keys = [*RUN, "episode"]
    doubled = table[table.duplicated(keys, keep=False)]
    contradictory: list[Any] = []
    groups: Iterable[tuple[Any, pd.DataFrame]] = doubled.groupby(RUN)
    for key, rows in groups:
        conflicts = int((rows.groupby("episode")["return"].nunique() > 1).sum())
        if conflicts:
            contradictory.append(key)
            what = f"{conflicts} episodes have different returns in different rows: the run is left out"
        else:
            what = f"{int(rows.duplicated(keys).sum())} rows are there more than once and count once"
        problems.append(Problem("duplicate", entry_name(*key), what))
    table = table.drop_duplicates(keys)
    if contradictory:
        table = table[~pd.MultiIndex.from_frame(table[RUN]).isin(contradictory)]
    return table, problems
