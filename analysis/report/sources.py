"""Where the results of a report come from: commits, versions, digests, references, settings."""

import json
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import Results, cell_order, title
from analysis.wording import task_title

REFERENCES = ("expert", "expert_deterministic", "random")


def provenance(results: Results) -> dict[str, Any]:
    """Return where all this comes from: commits, versions, digests, settings."""
    runs = results.runs
    return {
        "commits": _counted(runs["commit"]),
        "versions": results.provenance.get("versions", []),
        "files": results.provenance.get("files", {}),
        "demonstrations": [(task, digest) for task, digest in _by_task(runs, "demonstrations") if digest],
        "references": [
            {"task": task, **dict(zip(REFERENCES, map(_known, values), strict=True))}
            for task, *values in _by_task(runs, *REFERENCES)
            if any(map(_known, values))
        ],
        "settings": [
            {
                "digest": digest,
                "used": "; ".join(
                    f"{title(str(a))} on {task_title(str(t))}"
                    for a, t in runs[runs["settings"] == digest][["algorithm", "task"]].drop_duplicates().to_numpy()
                ),
                "json": json.dumps(settings, indent=1, sort_keys=True),
            }
            for digest, settings in results.settings.items()
        ],
    }


def _by_task(runs: pd.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Return what a task's runs have in these columns, each once, tasks in the order of the tables."""
    found = runs[["task", *columns]].drop_duplicates().itertuples(index=False, name=None)
    return sorted(found, key=lambda row: cell_order((row[0], 0)))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _counted(column: pd.Series) -> list[tuple[str, int]]:
    """Return the values of a column, most frequent first, with how many runs have each."""
    counts = column.dropna().value_counts()
    return sorted(((str(value), int(n)) for value, n in counts.items()), key=lambda pair: (-pair[1], pair[0]))
