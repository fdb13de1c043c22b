"""``bench compare A B``: two sets of results, entry by entry, with the tests: what a change did.

A set is a folder of runs, a folder of published results, a table of episodes, or a commit, whose ``results/`` are read.
Runs are paired by algorithm, task, trajectories and seed; where each set holds one algorithm only, under those two.
Every number is a - b, so a change from A to B that helps has negative differences.
"""

import json
import subprocess
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.committed import PROVENANCE_FILE, TABLES, holds_results, read_results
from analysis.document import settled
from analysis.foreign import read_episodes
from analysis.load import (
    ENTRY,
    RESULTS,
    RUN,
    Entry,
    Results,
    algorithm_order,
    entry_name,
    entry_order,
    title,
)
from analysis.markup import (
    TEX_PACKAGES,
    Column,
    Field,
    Grid,
    Section,
    changes,
    csv_rows,
    html_body,
    html_page,
    latex_page,
    markdown_page,
)
from analysis.records import read_runs
from analysis.statistics import POOLED, Row, samples_of, test_rows, winner
from analysis.tables import interval
from analysis.wording import finding, grouped, number, p_text, scope_text
from bench.errors import UserError

TITLE = "Comparison of A and B"


def open_results(name: str) -> Results:
    """Return the results that a name on the command line stands for.

    Raises:
        UserError: it is neither a path nor a commit, or cannot be read.
    """
    path = Path(name)
    if path.is_file():
        return read_episodes(path)
    if path.is_dir():
        return read_results(path) if holds_results(path) else read_runs([path])
    return _of_commit(name)


def _of_commit(name: str) -> Results:
    """Return the results that were committed at a revision of this project."""

    def git(*words: str) -> bytes | None:
        try:
            done = subprocess.run(["git", *words], cwd=RESULTS.parent, capture_output=True, check=False)
        except OSError:  # no git here
            return None
        return done.stdout if done.returncode == 0 else None

    commit = git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if not commit:
        raise UserError(f"{name} is no folder of runs or results, no table of episodes, and no commit of this project")
    with tempfile.TemporaryDirectory() as folder:
        for file in (*TABLES, PROVENANCE_FILE):
            content = git("show", f"{commit.decode().strip()}:{RESULTS.name}/{file}")
            if content is None:
                raise UserError(f"commit {name} holds no {RESULTS.name}/{file}")
            (Path(folder) / file).write_bytes(content)
        found = read_results(Path(folder))
    return replace(found, source=f"{RESULTS.name} of commit {commit.decode()[:12]}")


@dataclass(frozen=True)
class Comparison:
    """What two sets of results have in common, and what not.

    Attributes:
        a: the first set.
        b: the second set.
        tests: rows as of `analysis.statistics.tests`, with ``algorithm``, and for cells ``n_identical`` (pairs of runs
            whose every episode is the same) and ``changed`` (settings, or None).
        only_a: entries that only the first set has.
        only_b: entries that only the second set has.
    """

    a: Results
    b: Results
    tests: list[Row]
    only_a: list[Entry]
    only_b: list[Entry]

    @classmethod
    def build(cls, a: Results, b: Results) -> "Comparison":
        """Compare two sets; a `UserError` says if they have no run in common."""
        names = _names(a, b)
        scores = _both(a, b, names)
        same = _identical(a, b, names)
        entries = [_entries(one, names) for one in (a, b)]
        rows: list[Row] = []
        for name in sorted(set(scores["name"]), key=algorithm_order):
            mine = scores[scores["name"] == name]
            if mine["algorithm"].nunique() < 2:
                continue
            both = mine.groupby(["task", "trajectories", "seed"])["algorithm"].transform("nunique") == 2
            samples = samples_of(mine, "a", "b", pooled=mine[both])  # a run more in one set is no change of a mean
            for row in test_rows("a", "b", samples, claimed=False):
                key = (name, row["task"], row["trajectories"])
                of_cell = row["scope"] == "cell"
                rows.append(
                    {
                        "algorithm": name,
                        **row,
                        "n_identical": same.get(key, 0) if of_cell else None,
                        "changed": _changed(entries[0][key], entries[1][key]) if of_cell else None,
                    }
                )
        if not any(row["n_pairs"] for row in rows if row["scope"] == "cell"):
            raise UserError(
                f"{a.source} and {b.source} have no run in common: same algorithm, task, trajectories and seed"
            )
        only_a, only_b = (sorted(set(one) - set(other), key=entry_order) for one, other in (entries, entries[::-1]))
        return cls(a, b, settled(rows), only_a, only_b)

    @property
    def cells(self) -> list[Row]:
        """The rows of single entries."""
        return [row for row in self.tests if row["scope"] == "cell"]

    def conclusions(self) -> list[str]:
        """Return in words what the change did, an algorithm a line, and what cannot be compared."""
        lines = [f"A: {self.a.source}{self.a.caution}. B: {self.b.source}{self.b.caution}. Differences are a − b."]
        for name in dict.fromkeys(row["algorithm"] for row in self.cells):
            rows = [row for row in self.cells if row["algorithm"] == name]
            counts = Counter(outcome(row) for row in rows)
            parts = ", ".join(f"{count} {what}" for what, count in counts.items())
            found = [winner(row) for row in self.tests if row["algorithm"] == name and row["scope"] == "all"]
            best = f"{found[0]} is better" if any(found) else "neither is found better"
            lines.append(f"{title(name)}: {parts}; over its cells {best}.")
        for letter, only in (("A", self.only_a), ("B", self.only_b)):
            if only:
                lines.append(f"Only in {letter}: {'; '.join(_grouped_entries(only))}.")
        return lines

    def sections(self) -> list[Section]:
        """Return heading, table and lines of each section."""
        pooled = [row for row in self.tests if row["scope"] in POOLED]
        found: list[Section] = [("", grid_of(self.cells), self.conclusions())]
        found.append(("Over cells", grid_of(pooled), []))
        problems = [*grouped(self.a.problems), *(f"in B, {line}" for line in grouped(self.b.problems))]
        if problems:
            found.append(("Left out, missing or uneven", None, problems))
        return found

    def text(self, kind: str) -> str:
        """Return the comparison as md, csv, tex, html or json."""
        if kind == "json":
            content: dict[str, Any] = {"a": self.a.source, "b": self.b.source, "tests": self.tests}
            for key in ("only_a", "only_b"):
                content[key] = [dict(zip(ENTRY, entry, strict=True)) for entry in getattr(self, key)]
            return json.dumps(content, indent=1, allow_nan=False) + "\n"
        if kind == "csv":
            return csv_rows(self.tests, list(self.tests[0]))
        lead = "Every row is a − b."
        if kind == "tex":
            return TEX_PACKAGES + "\n\n" + latex_page("compare", TITLE, lead, self.sections())
        if kind == "html":
            return html_page(TITLE, html_body(TITLE, lead, self.sections()))
        return markdown_page(TITLE, lead, self.sections())


def grid_of(rows: Sequence[Row]) -> Grid:
    """Return what `bench compare` found, a line per algorithm and cell or scope."""
    columns = [
        *(Column("method", "left"), Column("over", "left"), Column("pairs"), Column("same"), Column("mean a")),
        *(Column("mean b"), Column("mean a − b"), Column("p"), Column("p, Holm"), Column("effect"), Column("shift")),
        *(Column("95 % interval"), Column("outcome", "left"), Column("settings, note", "left", wrap=True)),
    ]
    lines: list[list[Field]] = []
    for row in rows:
        digits = 3 if row["scale"] == "normalised" else 2
        means = [number(row[key], digits) for key in ("mean_a", "mean_b", "mean_difference")]
        p = [p_text(row[key]) for key in ("p_value", "p_holm")]
        shift = [number(row["effect_rank_biserial"]), number(row["shift_hodges_lehmann"], digits)]
        same = "" if row["n_identical"] is None else str(row["n_identical"])
        notes = "; ".join(filter(None, (row["changed"], row["note"])))
        names: list[Field] = [title(row["algorithm"]), scope_text(row), str(row["n_pairs"]), same]
        lines.append([*names, *means, *p, *shift, interval(row, digits), outcome(row), notes])
    return Grid(columns, lines, changes(row["algorithm"] for row in rows))


def outcome(row: Row) -> str:
    """Return what became of an entry in a comparison: identical, equal, a or b better, undecided or undecidable."""
    if row["n_identical"] and row["n_identical"] == row["n_pairs"]:
        return "identical"
    if row["n_pairs"] and row["n_zero"] == row["n_pairs"]:
        return "equal"
    best = winner(row)
    return f"{best} better" if best else finding(row)


def _names(a: Results, b: Results) -> dict[str, str]:
    """Return under which name each algorithm is compared: its own, or "x − y" where each set holds one only."""
    if len(a.algorithms) == len(b.algorithms) == 1 and a.algorithms != b.algorithms:
        (x,), (y,) = a.algorithms, b.algorithms
        return dict.fromkeys((x, y), f"{x} − {y}")
    return {name: name for name in (*a.algorithms, *b.algorithms)}


def _both(a: Results, b: Results, names: dict[str, str]) -> pd.DataFrame:
    """Return the scores of both sets with the columns name (the algorithm's) and algorithm ("a" or "b")."""
    parts = [one.scores.assign(side=side) for side, one in (("a", a), ("b", b))]
    table = pd.concat(parts, ignore_index=True)
    return table.assign(name=table["algorithm"].map(names), algorithm=table["side"])


def _identical(a: Results, b: Results, names: dict[str, str]) -> dict[Entry, int]:
    """Return per entry how many runs are the same in both sets, episode by episode."""
    keys = [*RUN, "episode"]
    left, right = (one.episodes[[*keys, "return"]].replace({"algorithm": names}) for one in (a, b))
    joined = left.merge(right, on=keys, how="outer", suffixes=("_a", "_b"))
    equal = (joined["return_a"] == joined["return_b"]).groupby([joined[key] for key in RUN]).all()
    counts = equal.groupby(level=ENTRY).sum()
    return {(str(k[0]), str(k[1]), int(k[2])): int(count) for k, count in counts.items()}  # type: ignore[index]


def _entries(results: Results, names: dict[str, str]) -> dict[Entry, list[dict[str, Any]]]:
    """Return the entries of a set and the settings that their runs have."""
    found: dict[Entry, list[dict[str, Any]]] = defaultdict(list)
    for algorithm, task, n, digest in results.runs[[*ENTRY, "settings"]].drop_duplicates().itertuples(index=False):
        found[names[str(algorithm)], str(task), int(n)].append(results.settings.get(digest, {}))
    return found


def _changed(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> str | None:
    """Return in which settings two entries differ, such as "horizon 30 → 60", if at all and as far as known."""
    if len(before) > 1 or len(after) > 1:
        return "several settings in one entry"
    (old,), (new,) = before, after
    if not old or not new:
        return None
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    return "; ".join(f"{key} {_value(old, key)} → {_value(new, key)}" for key in keys) or None


def _value(settings: dict[str, Any], key: str) -> str:
    return str(settings[key]) if key in settings else "–"


def _grouped_entries(entries: Sequence[Entry], limit: int = 8) -> list[str]:
    """Name entries, the first few of many."""
    named = [entry_name(*entry) for entry in entries]
    return named[:limit] + ([f"and {len(named) - limit} more"] if len(named) > limit else [])
