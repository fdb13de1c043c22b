"""The entries of Table 1: our own, or anybody's, beside the paper's. Results -> rows of the JSON contract.

An entry is one method on one cell. Its mean is the mean over seeds of a seed's mean return. It has two spreads:
``std_seeds`` over the seeds' means (ddof 1; None for one seed) and ``std_episodes`` over all episodes pooled (ddof 0,
the paper's for the classic tasks).
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.forecast import forecast, measured
from analysis.load import ENTRY, METHODS, Entry, Results, entry_order
from analysis.statistics import LEVEL, Row, champions
from analysis.wilcoxon import holm, signed_rank
from bench.paper import EXPERT_RETURNS, printed
from bench.tasks import TASKS

# Budgets of GAIL in environment steps [H&E]: iterations x steps; the classic tasks', MuJoCo's and Humanoid's.
HE_STEPS = {
    task.name: 1500 * 50_000 if task.name == "humanoid" else 300 * 5_000 if task.discrete else 500 * 50_000
    for task in TASKS.values()
}
# Settings in which entries of one method may differ in kind, not in size: printed with the table.
TOLD = ("init", "average", "objective", "segments", "starts", "critic", "memory", "reward_form")


def entries(results: Results) -> list[Row]:
    """Return one row per entry, in table order: by cell, then by method.

    Of our own results all entries of Table 1 are listed, run or not, and whatever else was run; of a foreign table the
    algorithms on the cells that it has.
    """
    scores = results.scores
    by_entry = {key: rows for key, rows in scores.groupby(ENTRY)}
    runs = {key: rows for key, rows in results.runs.groupby(ENTRY)}
    episodes = results.episodes.groupby(ENTRY)["return"]
    spread, count = episodes.std(ddof=0), episodes.size()
    best = champions(results)
    costs = measured(results)
    flags = _flags(results)
    rows: list[Row] = []
    for key in _listed(results):
        algorithm, task, n = key
        row = _empty(algorithm, task, n, results) | {"flags": flags.get(key)}
        if key in by_entry:
            seeds = by_entry[key]
            means = seeds["mean"].to_numpy()
            row |= {
                "n_seeds": len(seeds),
                "n_episodes": int(count[key]),
                "mean": float(means.mean()),
                "std_seeds": float(means.std(ddof=1)) if len(means) > 1 else None,
                "std_episodes": float(spread[key]),
                "normalised": _mean(seeds["normalised"]),
                "normalised_deterministic": _mean(seeds["normalised_deterministic"]),
                "env_steps": _mean(runs[key]["env_steps"]),
                "core_s": _mean(runs[key]["core_s"]),
                "bold": key in best,
                "bold_p": best.get(key),
                "command": None,
            }
            row["budget"] = _budget(algorithm, task, row["env_steps"])
            row["paper_normalised"] = _paper_normalised(row, runs[key])
        elif row["command"] and (expected := forecast(algorithm, task, costs)):
            row |= {"forecast_core_s": expected.core_s, "forecast_basis": expected.basis}
        rows.append(row)
    _judge(rows, by_entry)
    return rows


def _listed(results: Results) -> list[tuple[str, str, int]]:
    """Return the keys of all entries to list, in table order."""
    run = {(str(a), str(t), int(n)) for a, t, n in results.runs[ENTRY].drop_duplicates().itertuples(index=False)}
    if results.foreign:
        wanted = {(a, *cell) for a in results.algorithms for cell in results.cells}
    else:
        wanted = run | {(a, t.name, n) for a in METHODS for t in TASKS.values() for n in t.trajectories}
    return sorted(wanted, key=entry_order)


def _empty(algorithm: str, task: str, n: int, results: Results) -> Row:
    """Return the row of an entry that was not run, with the command that runs it if it is one of ours."""
    paper = printed(task, n, algorithm)
    ours = algorithm in METHODS and task in TASKS and not results.foreign
    return {
        "task": task,
        "algorithm": algorithm,
        "trajectories": n,
        "n_seeds": 0,
        "mean": None,
        "std_seeds": None,
        "std_episodes": None,
        "normalised": None,
        "paper_mean": paper.mean if paper else None,
        "paper_std": paper.std if paper else None,
        "env_steps": None,
        "core_s": None,
        "verdict": None,
        "n_episodes": 0,
        "normalised_deterministic": None,
        "paper_normalised": None,
        "verdict_p": None,
        "budget": None,
        "bold": False,
        "bold_p": None,
        "command": command([algorithm], [task], [n]) if ours else None,
        "forecast_core_s": None,
        "forecast_basis": None,
    }


def _flags(results: Results) -> dict[Entry, str]:
    """Return per entry which kinds of problems its runs have, such as "failed mixed"."""
    kinds: dict[Entry, set[str]] = defaultdict(set)
    for problem in results.problems:
        if problem.entry is not None:
            kinds[problem.entry].add(problem.kind)
    return {entry: " ".join(sorted(found)) for entry, found in kinds.items()}


def command(algorithms: Sequence[str], tasks: Sequence[str], trajectories: Sequence[int]) -> str:
    """Return the command that runs these entries; without algorithms or sizes, all that Table 1 has."""
    words = ["bench run --table1 --preset full --tasks", ",".join(tasks)]
    words += ["--algorithms", ",".join(algorithms)] if algorithms else []
    words += ["--trajectories", ",".join(str(n) for n in trajectories)] if trajectories else []
    return " ".join(words)


def _mean(values: pd.Series) -> float | None:
    """Return the mean, or None if any value is unknown."""
    return float(values.astype(float).mean()) if values.notna().all() else None


def _budget(algorithm: str, task: str, env_steps: float | None) -> float | None:
    """Return which fraction of Ho & Ermon's environment steps a GAIL entry had, if fewer; else None."""
    if not algorithm.startswith("gail-") or task not in HE_STEPS or env_steps is None:
        return None
    fraction = env_steps / HE_STEPS[task]
    return fraction if fraction < 1 else None


def _paper_normalised(row: Row, runs: pd.DataFrame) -> float | None:
    """Return the paper's value as a fraction of *its* expert, above the random policy measured here.

    Gymnasium's v5 tasks are not those of 2016, so returns as such are not compared. The random policy of 2016 is not
    printed in the paper; ours is within a few per cent of an expert's return of it.
    """
    rand = _mean(runs["random"])
    if row["paper_mean"] is None or rand is None or EXPERT_RETURNS[row["task"]] == rand:
        return None
    return (row["paper_mean"] - rand) / (EXPERT_RETURNS[row["task"]] - rand)


def _judge(rows: Sequence[Row], by_entry: dict[Any, pd.DataFrame]) -> None:
    """Set the verdicts against the paper: a signed-rank test of the seeds' fractions, Holm within a method.

    The paper's number is taken as fixed: it is one training run on MuJoCo, and its own uncertainty is unknown.
    """
    judged: dict[str, list[tuple[Row, float | None, int]]] = defaultdict(list)
    for row in rows:
        if row["n_seeds"] and row["paper_normalised"] is not None and row["normalised"] is not None:
            seeds = by_entry[row["algorithm"], row["task"], row["trajectories"]]["normalised"].to_numpy()
            outcome = signed_rank(seeds, np.full(len(seeds), row["paper_normalised"]))
            judged[row["algorithm"]].append((row, outcome.p_value, outcome.direction))
    for family in judged.values():
        for (row, p, direction), adjusted in zip(
            family, holm([1.0 if p is None else p for _, p, _ in family]), strict=True
        ):
            row["verdict_p"] = None if p is None else float(adjusted)
            row["verdict"] = "undecided" if adjusted >= LEVEL else "better" if direction > 0 else "worse"


def told_settings(results: Results) -> dict[str, str]:
    """Return, per algorithm, the settings of kind that its runs have, such as ``init=random, average=0.999``."""
    lines = {}
    for algorithm in results.algorithms:
        runs = results.runs[results.runs["algorithm"] == algorithm]
        by_value: dict[str, set[str]] = defaultdict(set)
        for task, digest in runs[["task", "settings"]].drop_duplicates().itertuples(index=False):
            settings = results.settings.get(digest, {})
            by_value[", ".join(f"{name}={settings[name]}" for name in TOLD if name in settings)].add(str(task))
        by_value.pop("", None)
        if len(by_value) == 1:
            lines[algorithm] = next(iter(by_value))
        elif by_value:
            parts = [f"{value} ({', '.join(sorted(tasks))})" for value, tasks in sorted(by_value.items())]
            lines[algorithm] = "; ".join(parts)
    return lines
