"""``bench publish``: finished runs -> the committed results, and everything that is rendered from them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from analysis import PARTS, committed
from analysis.document import Document, write_files
from analysis.load import FINAL_EPISODES, RESULTS, RUN, Problem, Results, entry_name, no_results
from analysis.records import read_runs
from bench.errors import UserError
from bench.provenance import command


def publish(directories: Sequence[Path], out: Path | None = None, tuning: bool = False) -> tuple[Path, Results]:
    """Add the finished runs below `directories` to the results in `out`, and render them.

    A run that is there already (same algorithm, task, trajectories and seed) is replaced. Smoke runs, evaluated on
    fewer episodes than the protocol's, and runs of seeds for tuning are left out.

    Args:
        directories: folders of runs.
        out: default: the committed results.
        tuning: publish the runs of seeds for tuning instead, which are no results: into a folder of their own, and
            rendered is only how soon and how surely they arrive.

    Returns:
        The folder, and all that it holds now; its `problems` are those of the runs that were read.

    Raises:
        UserError: no finished run, unreadable results, a folder that cannot be written, or one of the other kind.
    """
    if tuning and (out is None or out.resolve() == RESULTS.resolve()):
        raise UserError("runs of seeds for tuning are no results: give them a folder of their own with --out")
    out = RESULTS if out is None else out
    new = _publishable(read_runs(directories), tuning)
    old = committed.read_results(out) if committed.holds_results(out) else None
    broken = [problem for problem in old.problems if problem.kind == "corrupt"] if old is not None else []
    if broken:
        raise UserError(f"{out / broken[0].where} {broken[0].what}: take it back before anything is added")
    if old is not None and (no_results(old.runs)["tuning"] != tuning).any():
        kinds = ("results", "runs of seeds for tuning")
        raise UserError(
            f"{out} holds {kinds[not tuning]}, which {kinds[tuning]} do not belong to: choose another --out"
        )
    merged = committed.merge(old, new)
    rendered = Document.build(merged).contents(parts_of(merged))
    write_files(out, committed.files(merged, command=command()) | rendered)
    return out, replace(merged, problems=new.problems)


def render(out: Path = RESULTS) -> list[str]:
    """Render published results into their own folder; the same results give the same bytes."""
    results = committed.read_results(out)
    return Document.build(results).write(out, parts_of(results))


def parts_of(results: Results) -> Sequence[str]:
    """Return what is rendered of published results; no table is made of runs of seeds for tuning."""
    return ("interactions",) if no_results(results.runs)["tuning"].all() else PARTS


def _publishable(results: Results, tuning: bool) -> Results:
    """Return the results without the runs that are no results, which are listed; `tuning`: those of such seeds."""
    bad = no_results(results.runs)
    if tuning:
        bad = {"smoke": bad["smoke"], "other": ~bad["tuning"]}
    full = ~pd.DataFrame(bad).any(axis=1)
    if full.all():
        return results
    why = {
        "smoke": f"evaluated on fewer than {FINAL_EPISODES} episodes",
        "tuning": "of seeds for tuning",
        "other": "of seeds that are not for tuning",
    }
    counts = {kind: int(found.sum()) for kind, found in bad.items() if found.any()}
    told = [f"{count} {kind} run{'s' * (count != 1)}, {why[kind]}" for kind, count in counts.items()]
    if not full.any():
        raise UserError(f"{results.source}: nothing to publish: {'; '.join(told)}")
    kept = results.runs[full]
    keys = kept.set_index(RUN).index
    problem = Problem("unequal", "; ".join(told), "not published")
    left_out = set(map(entry_name, *(results.runs.loc[~full, name] for name in RUN)))
    return replace(
        results,
        runs=kept.reset_index(drop=True),
        episodes=results.episodes[results.episodes.set_index(RUN).index.isin(keys)].reset_index(drop=True),
        curves=results.curves[results.curves.set_index(RUN).index.isin(keys)].reset_index(drop=True),
        problems=(*(p for p in results.problems if p.where not in left_out), problem),
    )
