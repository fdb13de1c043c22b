"""Run records as one tidy table, for notebooks: ``bench.load("runs")``. Needs no torch."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from bench.errors import UserError
from bench.files import read_json
from bench.record import find_runs, named, read_config

COLUMNS = (
    "algorithm",
    "task",
    "trajectories",
    "seed",
    "episode",
    "eval_seed",
    "return",
    "length",
    "terminated",
    "env_steps",
    "core_s",
    "wall_s",
    "expert",
    "expert_deterministic",
    "random",
)


def load(directories: str | Path | Sequence[str | Path]) -> pd.DataFrame:
    """Return one row per episode of the final evaluation of every finished run at or below `directories`.

    Columns: those of `COLUMNS`. ``algorithm`` carries the label (``mgail-basic+long``); ``return`` is undiscounted;
    ``env_steps``, ``core_s`` and ``wall_s`` are the whole run's; ``expert``, ``expert_deterministic`` and ``random``
    are the returns that scores are normalised by. Runs that are not finished are left out.

    Raises:
        UserError: a folder does not exist, or a record is damaged.
    """
    paths = [directories] if isinstance(directories, str | Path) else directories
    rows: list[dict[str, Any]] = []
    for run in find_runs([Path(path) for path in paths]):
        if (run / "result.json").exists():
            rows += _episodes(run)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _episodes(run: Path) -> list[dict[str, Any]]:
    config, result = read_config(run), read_json(run / "result.json")
    common = {"algorithm": named(config), **{key: config[key] for key in ("task", "trajectories", "seed")}}
    costs = {key: result[key] for key in ("env_steps", "core_s", "wall_s")}
    references = {key: result["references"].get(key) for key in ("expert", "expert_deterministic", "random")}
    path = run / "evaluations.csv"
    try:
        with path.open(newline="") as stream:
            last = [row for row in csv.DictReader(stream) if int(row["iteration"]) == result["iterations"]]
        episodes = [
            {
                "episode": int(row["episode"]),
                "eval_seed": int(row["eval_seed"]),
                "return": float(row["return"]),
                "length": int(row["length"]),
                "terminated": row["terminated"] == "True",
            }
            for row in last
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged ({type(error).__name__}: {error}); remove its folder to run it again"
        ) from None
    if len(episodes) != result["n_episodes"]:
        raise UserError(
            f"{path} holds {len(episodes)} final episodes, result.json {result['n_episodes']}; "
            "remove its folder to run it again"
        )
    return [common | episode | costs | references for episode in episodes]
