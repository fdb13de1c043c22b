"""Which tests are done on which pairs: results -> rows of the JSON contract.

=====================================  ==============================================================================
scope                                  pairs and values
=====================================  ==============================================================================
``cell``                               seeds both have; the seed's mean return
``task``                               seeds both have; the seed's mean over the cells of the task in which both have it
``all``, ``continuous``, ``discrete``  cells both have; the mean over *all* of an algorithm's own seeds, normalised
                                       where every cell has references, so that the task with the largest returns does
                                       not rule the ranks
=====================================  ==============================================================================

Every row is a - b. Two-sided p-values are corrected by Holm within comparison and scope; the paper's claims are
one-sided rows of their own, uncorrected, beside them.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import ENTRY, Entry, Results, cell_order, control_of, seeds_text
from analysis.wilcoxon import ZERO_METHOD, Alternative, SignedRank, holm, signed_rank
from bench.errors import UserError, unknown
from bench.paper import table1
from bench.tasks import TASKS

LEVEL = 0.05
POOLED = ("all", "continuous", "discrete")
SCOPES = (*POOLED, "task", "cell")

# Declared before any result was seen: what this project asks, a against b.
COMPARISONS = (("mgail-advanced", "gail-trpo"), ("mgail-advanced", "bc"), ("mgail-advanced", "mgail-basic"))
# Of these the paper claims a > b: all three.
CLAIMS = frozenset(COMPARISONS)

Row = dict[str, Any]
Pair = tuple[str, str]


def comparisons(results: Results, asked: Sequence[str] = ()) -> list[Pair]:
    """Return the pairs (a, b) to compare: those asked for as "A:B", else the declared ones, else all.

    Of a foreign table all pairs are compared, the declared ones in their declared direction.

    Raises:
        UserError: a pair is not of the form A:B, or names an algorithm without results.
    """
    present = results.algorithms
    pairs = []
    for text in asked:
        a, separator, b = text.partition(":")
        if not separator or not a or not b or a == b:
            raise UserError(f"--compare {text!r}: give two different algorithms as A:B")
        for name in (a, b):
            if name not in present:
                raise unknown("algorithm", name, present)
        pairs.append((a, b))
    if pairs:
        return list(dict.fromkeys(pairs))
    declared = [pair for pair in COMPARISONS if set(pair) <= set(present)]
    if declared and not results.foreign:
        return declared
    others = [pair for pair in combinations(present, 2) if pair not in declared and pair[::-1] not in declared]
    return declared + others


def tests(results: Results, pairs: Sequence[Pair]) -> list[Row]:
    """Return the rows of the JSON contract: by comparison, two-sided rows first, pooled before tasks before cells."""
    scores = results.scores
    rows: list[Row] = []
    for a, b in pairs:
        mine = scores[scores["algorithm"].isin((a, b))]
        rows += test_rows(a, b, samples_of(mine, a, b), claimed=(a, b) in CLAIMS)
    return rows


class Sample:
    """Paired values of one scope, and what is to be said of them."""

    def __init__(self, scope: str, task: Any, trajectories: Any, table: pd.DataFrame, notes: Iterable[str]):
        self.scope, self.task, self.trajectories = scope, task, trajectories
        self.a, self.b = table["a"].to_numpy(np.float64), table["b"].to_numpy(np.float64)
        self.scale = "raw"
        self.unit = "cell" if scope in POOLED else "seed"
        self.notes = [note for note in notes if note]


def samples_of(scores: pd.DataFrame, a: str, b: str, pooled: pd.DataFrame | None = None) -> list[Sample]:
    """Return what is paired of a and b in every scope.

    Args:
        scores: as `analysis.load.Results.scores` holds them.
        a: an algorithm of `scores`.
        b: the other one.
        pooled: other scores for the scopes over cells.
    """
    over_cells = _pooled_samples(scores if pooled is None else pooled, a, b)
    return [*over_cells, *_seed_samples(_by_seed(scores), a, b)]


def _by_seed(scores: pd.DataFrame) -> pd.DataFrame:
    """Return mean returns by task, trajectories and seed, a column per algorithm; NaN where it has no such run."""
    return scores.pivot(index=["task", "trajectories", "seed"], columns="algorithm", values="mean")


def _seed_samples(by_seed: pd.DataFrame, a: str, b: str) -> list[Sample]:
    """Pair the seeds of every task and every cell in which both algorithms have runs."""
    wide = by_seed[[a, b]].dropna(how="all").set_axis(["a", "b"], axis=1)
    samples, cells = [], []
    lacking = wide.isna().to_numpy().any()  # seldom, and looking for it in every cell takes most of the time
    for (task, n), cell in _sorted(wide.groupby(level=["task", "trajectories"])):
        notes = []
        if lacking:
            lone = {name: cell.index[cell[side].isna()].get_level_values("seed") for side, name in (("a", a), ("b", b))}
            if len(cell) in map(len, lone.values()):  # one of them has no run here at all
                continue
            notes = [f"{name} lacks {seeds_text(seeds)}" for name, seeds in lone.items() if len(seeds)]
        cells.append(Sample("cell", task, n, cell.dropna() if lacking else cell, notes))
    both = wide.dropna()
    for (task,), rows in _sorted(both.groupby(level=["task"])):
        sizes = rows.groupby(level="seed").size()
        note = "not every seed has all of the task's cells" if sizes.nunique() > 1 else ""
        samples.append(Sample("task", task, None, rows.groupby(level="seed").mean(), [note]))
    return samples + cells


def _sorted(groups: Iterable[tuple[Any, pd.DataFrame]]) -> list[tuple[Any, pd.DataFrame]]:
    """Return groups by task (and number of trajectories) in the order of table rows."""
    return sorted(groups, key=lambda group: cell_order((*group[0], 0)[:2]))


def _pooled_samples(scores: pd.DataFrame, a: str, b: str) -> list[Sample]:
    """Pair the cells of each pooled scope that both algorithms have."""
    pair = scores[scores["algorithm"].isin((a, b))]
    means = pair.groupby(ENTRY)[["mean", "normalised"]].mean(skipna=False).reset_index()
    samples = []
    for scope in POOLED:
        inside = within(means, scope)
        table = _by_cell(inside, a, b, "mean").dropna()
        if table.empty:
            continue
        fractions = _by_cell(inside, a, b, "normalised").loc[table.index]
        normalised = bool(fractions.notna().to_numpy().all())
        table = fractions if normalised else table
        sample = Sample(scope, None, None, table, [])
        sample.scale = "normalised" if normalised else "raw"
        if not normalised and table.index.get_level_values("task").nunique() > 1:
            sample.notes.append("raw returns: tasks with large returns rule the ranks")
        samples.append(sample)
    return samples


def _by_cell(means: pd.DataFrame, a: str, b: str, value: str) -> pd.DataFrame:
    """Return the columns a and b of `value`, a row per cell; NaN where one has none."""
    wide = means.pivot(index=ENTRY[1:], columns="algorithm", values=value)
    return wide.reindex(columns=[a, b]).set_axis(["a", "b"], axis=1)


def in_scope(task: str, scope: str) -> bool:
    """Return whether a task belongs to a pooled scope; of a task we do not know we cannot tell more than ``all``."""
    return scope == "all" or (task in TASKS and TASKS[task].discrete == (scope == "discrete"))


def within(table: pd.DataFrame, scope: str) -> pd.DataFrame:
    """Return the rows of `table` whose task belongs to a pooled scope."""
    return table[np.array([in_scope(task, scope) for task in table["task"]], dtype=bool)]


def test_rows(a: str, b: str, samples: Sequence[Sample], claimed: bool) -> list[Row]:
    """Return a row per sample: test two-sided, correct within scopes, and add the one-sided rows of a claim."""
    rows: list[Row] = []
    alternatives: list[Alternative] = ["two-sided", "greater"] if claimed else ["two-sided"]
    for alternative in alternatives:
        outcomes = [signed_rank(sample.a, sample.b, alternative) for sample in samples]
        corrected: list[float | None] = [None] * len(samples)
        families = {}
        for scope in SCOPES:
            family = [i for i, s in enumerate(samples) if s.scope == scope and outcomes[i].p_value is not None]
            families[scope] = len(family)
            if alternative == "two-sided":
                for i, p in zip(family, holm([outcomes[i].p_value or 0.0 for i in family]), strict=True):
                    corrected[i] = float(p)
        for sample, outcome, p_holm in zip(samples, outcomes, corrected, strict=True):
            tests_done = families[sample.scope] if alternative == "two-sided" else 1
            rows.append(_row(a, b, sample, outcome, p_holm, tests_done))
    return rows


def _row(a: str, b: str, sample: Sample, outcome: SignedRank, p_holm: float | None, family: int) -> Row:
    return {
        "scope": sample.scope,
        "task": sample.task,
        "trajectories": sample.trajectories,
        "a": a,
        "b": b,
        "n_pairs": outcome.n_pairs,
        "n_zero": outcome.n_zero,
        "mean_a": float(sample.a.mean()) if outcome.n_pairs else None,
        "mean_b": float(sample.b.mean()) if outcome.n_pairs else None,
        "statistic": outcome.statistic,
        "w_plus": outcome.w_plus,
        "p_value": outcome.p_value,
        "p_holm": p_holm,
        "alternative": outcome.alternative,
        "method": outcome.method,
        "zero_method": ZERO_METHOD,
        "scale": sample.scale,
        "mean_difference": outcome.mean_difference,
        "median_difference": outcome.median_difference,
        "effect_rank_biserial": outcome.rank_biserial,
        "shift_hodges_lehmann": outcome.shift,
        "shift_low": outcome.shift_low,
        "shift_high": outcome.shift_high,
        "min_attainable_p": outcome.min_attainable_p,
        "note": "; ".join([*_remarks(a, b, sample, outcome, family), *sample.notes]),
    }


def _remarks(a: str, b: str, sample: Sample, outcome: SignedRank, family: int) -> list[str]:
    """Say what keeps the test from deciding, and where its ranks and its means disagree."""
    n, unit = outcome.n_pairs, sample.unit
    if n == 0:
        return [f"undefined: no {unit} in common"]
    if outcome.p_value is None or outcome.min_attainable_p is None:
        return [f"undefined: no difference in any of {n} {unit}s" if n > 1 else f"undefined: no difference in 1 {unit}"]
    remarks = []
    if outcome.min_attainable_p * family > LEVEL:
        why = f"the least p is {outcome.min_attainable_p:.3g}"
        if outcome.n_zero:
            why = f"{outcome.n_zero} of them without a difference, {why}"
        if family > 1 and outcome.min_attainable_p <= LEVEL:
            why += f", {min(1.0, outcome.min_attainable_p * family):.3g} after Holm over {family} tests"
        remarks.append(f"undecidable with {n} {unit}s ({why})" if n > 1 else f"undecidable with 1 {unit} ({why})")
    mean = np.sign(outcome.mean_difference or 0.0)
    if mean * outcome.direction < 0:
        by_rank, by_mean = (a, b) if outcome.direction > 0 else (b, a)
        remarks.append(f"ranks and means disagree: ranks favour {by_rank}, the mean difference favours {by_mean}")
    return remarks


def winner(row: Row) -> str | None:
    """Return which of a and b a two-sided row finds better at the level after correction, by its ranks; else None."""
    if row["p_holm"] is None or row["p_holm"] >= LEVEL:
        return None
    return row["a"] if row["effect_rank_biserial"] > 0 else row["b"]


def champions(results: Results) -> dict[Entry, float]:
    """Return the entries that beat every other method of their cell, with the largest of their p-values.

    All pairs of methods are tested cell by cell as `tests` does, two-sided, with Holm's correction over the cells of a
    pair; bias controls are no rivals. A method alone in its cell has beaten nobody.
    """
    by_seed = _by_seed(results.scores)
    lost: set[Entry] = set()
    won: dict[Entry, float] = {}
    for a, b in combinations([name for name in results.algorithms if control_of(name) is None], 2):
        samples = [sample for sample in _seed_samples(by_seed, a, b) if sample.scope == "cell"]
        for row in test_rows(a, b, samples, claimed=False):
            for name in (a, b):
                entry = (name, row["task"], row["trajectories"])
                if winner(row) == name:
                    won[entry] = max(won.get(entry, 0.0), row["p_holm"])
                else:
                    lost.add(entry)
    return {entry: p for entry, p in won.items() if entry not in lost}


def paper_tests() -> list[Row]:
    """Return what the paper's printed means say: MGAIL against GAIL and BC, pairs = cells, per scope and task."""
    rows: list[Row] = []
    for column in ("gail", "bc"):
        samples = []
        for scope, task in [*((scope, None) for scope in POOLED), *(("task", name) for name in TASKS)]:
            cells = [
                (table1()[cell.name, n, "mgail"].mean, table1()[cell.name, n, column].mean)
                for cell in TASKS.values()
                for n in cell.trajectories
                if (in_scope(cell.name, scope) if task is None else cell.name == task)
            ]
            samples.append(Sample(scope, task, None, pd.DataFrame(cells, columns=["a", "b"]), []))
            samples[-1].unit = "cell"
        rows += test_rows("mgail", column, samples, claimed=False)
    return rows
