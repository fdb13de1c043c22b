"""The compact form of results, as `bench publish` writes and commits it: reading, merging, writing.

===================  ================================================================
``episodes.csv.gz``  one row per final evaluation episode
``runs.csv``         one row per run: costs, references, digests
``curves.csv.gz``    one row per evaluation of a run
``provenance.json``  settings by digest, versions, and the digests of these files
===================  ================================================================
"""

import gzip
import hashlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.load import CURVES, EPISODES, RUN, RUNS, Problem, Results, tidy
from bench.errors import UserError
from bench.files import SCHEMA, read_json

EPISODES_FILE, RUNS_FILE, CURVES_FILE, PROVENANCE_FILE = (
    "episodes.csv.gz",
    "runs.csv",
    "curves.csv.gz",
    "provenance.json",
)
TABLES = {EPISODES_FILE: EPISODES, RUNS_FILE: RUNS, CURVES_FILE: CURVES}
_TYPES = {
    **dict.fromkeys(("algorithm", "task", "label", "demonstrations", "settings", "commit"), "str"),
    **dict.fromkeys(("trajectories", "seed", "episode", "length", "iteration", "n"), "int64"),
}


def holds_results(directory: Path) -> bool:
    """Return whether `bench publish` has written into this folder."""
    return (directory / EPISODES_FILE).is_file()


def read_results(directory: Path) -> Results:
    """Read published results; a `UserError` says what is missing or unreadable."""
    tables, problems = {}, []
    if not holds_results(directory):
        raise UserError(f"{directory} holds no published results (no {EPISODES_FILE}); `bench publish` writes them")
    provenance = read_json(directory / PROVENANCE_FILE)
    for name, columns in TABLES.items():
        path = directory / name
        try:
            content = path.read_bytes()
            text = gzip.decompress(content) if path.suffix == ".gz" else content
            table = pd.read_csv(
                io.BytesIO(text),
                dtype={key: kind for key, kind in _TYPES.items() if key in columns},
            )
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
        if list(table.columns) != columns:
            raise UserError(f"{path} has the columns {', '.join(table.columns)}, not {', '.join(columns)}")
        if hashlib.sha256(content).hexdigest() != provenance.get("files", {}).get(name):
            problems.append(Problem("corrupt", name, "was changed since `bench publish` wrote it"))
        tables[name] = table
    runs = tables[RUNS_FILE]
    _check(directory, tables)
    return tidy(
        f"{directory}: {len(runs)} runs",
        tables[EPISODES_FILE],
        runs.assign(label=runs["label"].where(runs["label"].notna(), None)),
        tables[CURVES_FILE],
        problems,
        settings=provenance.get("settings", {}),
        provenance={"versions": provenance.get("versions", []), "files": provenance.get("files", {})},
    )


def _check(directory: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Raise a `UserError` if the tables contradict each other: they are written together."""
    runs, episodes = tables[RUNS_FILE], tables[EPISODES_FILE]
    counted = episodes.groupby(RUN).size()
    listed = runs.set_index(RUN)["n_episodes"]
    if listed.index.has_duplicates or episodes.duplicated([*RUN, "episode"]).any():
        raise UserError(f"{directory} lists a run or an episode twice")
    if not counted.sort_index().equals(listed.sort_index()):
        raise UserError(f"{RUNS_FILE} and {EPISODES_FILE} in {directory} speak of different runs")


def merge(old: Results | None, new: Results) -> Results:
    """Return `new` with those runs of `old` that it does not replace."""
    if old is None:
        old = replace(new, episodes=new.episodes[:0], runs=new.runs[:0], curves=new.curves[:0])
    replaced = pd.MultiIndex.from_frame(new.runs[RUN])

    def joined(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
        kept = before[~pd.MultiIndex.from_frame(before[RUN]).isin(replaced)]
        return pd.concat([table for table in (kept, after) if len(table)], ignore_index=True)

    runs = joined(old.runs, new.runs)
    settings = old.settings | new.settings
    versions = [*old.provenance["versions"], *new.provenance["versions"]]
    return tidy(
        f"{len(runs)} runs",
        joined(old.episodes, new.episodes),
        runs,
        joined(old.curves, new.curves),
        [],
        settings={key: settings[key] for key in sorted(set(runs["settings"]))},
        provenance={
            "versions": sorted({json.dumps(each, sort_keys=True): each for each in versions}.values(), key=str)
        },
    )


def files(results: Results, **provenance: Any) -> dict[str, bytes]:
    """Return the files of the compact form by name; the same results give the same bytes."""
    tables = {
        EPISODES_FILE: _packed(_csv(results.episodes[EPISODES])),
        RUNS_FILE: _csv(results.runs[RUNS]),
        CURVES_FILE: _packed(_csv(results.curves[CURVES])),
    }
    content = {
        "schema": SCHEMA,
        **provenance,
        **results.provenance,
        "commits": sorted(set(results.runs["commit"].dropna())),
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in tables.items()},
        "settings": results.settings,
    }
    return {**tables, PROVENANCE_FILE: (json.dumps(content, indent=1) + "\n").encode()}


def _csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV; floats in their shortest form that reads back to the same number."""
    return table.to_csv(index=False, lineterminator="\n").encode()


def _packed(content: bytes) -> bytes:
    """Compress without a time stamp or a name, so that equal content gives equal bytes."""
    return gzip.compress(content, compresslevel=9, mtime=0)
