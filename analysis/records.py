"""Run folders -> `Results`. Thousands of small files are read whole and parsed together, a batch at a time."""

import hashlib
import io
import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.load import CURVES, EPISODES, FINAL_EPISODES, RUN, RUNS, Entry, Problem, Results, entry_name, tidy
from bench.errors import UserError
from bench.files import read_json
from bench.record import SWEEPS, find_runs, read_config, state
from bench.seeding import TUNING_SEEDS, final_evaluation_seed

BATCH = 500
_COLUMNS = {
    "iteration": np.int64,
    "env_steps": np.int64,
    "episode": np.int64,
    "eval_seed": np.int64,
    "return": np.float64,
    "length": np.int64,
    "terminated": np.bool_,
}
_LAYOUT = re.compile(r"[^/]+/[^/]+/n\d+/seed\d+")
_HEADER = ",".join(_COLUMNS).encode() + b"\n"
_REMAINS = frozenset({"result.json", "evaluations.csv", "progress.csv", "checkpoint.pt"})  # what tells a run's folder


def read_runs(directories: Sequence[Path]) -> Results:
    """Read all run folders at or below `directories`; where two hold the same run, the first directory's counts.

    Raises:
        UserError: a directory does not exist, or none of them holds a finished run.
    """
    problems: list[Problem] = []
    found: dict[tuple[Any, ...], Path] = {}
    rows: list[dict[str, Any]] = []
    settings: dict[str, dict[str, Any]] = {}
    presets: list[str] = []
    versions: dict[str, dict[str, Any]] = {}
    for folder in _folders(directories, problems):
        try:
            row, config = _read_run(folder, problems)
        except UserError as error:
            problems.append(Problem("corrupt", str(folder), str(error).removeprefix(f"{folder}/")))
            continue
        if row is None:
            continue
        key = tuple(row[name] for name in RUN)
        if key in found:
            what = f"{folder} is left out; {found[key]} counts"
            problems.append(Problem("duplicate", entry_name(*key), what, _entry(row)))
            continue
        found[key] = folder
        rows.append(row)
        presets.append(config.get("preset") or "unknown")
        settings[row["settings"]] = _described(config)
        versions[_digest(config.get("versions", {}))] = config.get("versions", {})
    episodes, curves, sound = _read_evaluations(rows, list(found.values()), problems)
    names = ", ".join(f"{directory}" for directory in directories)
    if not sound.any():
        hint = f"; {problems[0]}" if problems else ""
        raise UserError(f"no finished run in {names}{hint}")
    runs = pd.DataFrame(rows, columns=RUNS)[sound]
    return tidy(
        f"{names}: {_count(len(runs), 'finished run')}, {_presets(presets, sound)}",
        episodes,
        runs,
        curves,
        problems,
        settings={key: settings[key] for key in sorted(set(runs["settings"]))},
        provenance={"versions": [versions[key] for key in sorted(versions)]},
    )


def holds_finished_run(directory: Path) -> bool:
    """Return whether there is at least one finished run at or below `directory`."""
    return directory.is_dir() and any((run / "result.json").exists() for run in find_runs([directory]))


def _folders(directories: Iterable[Path], problems: list[Problem]) -> Iterator[Path]:
    """Yield the run folders of each directory in turn, once each, so that the first directory comes first.

    A folder that holds what only a run leaves, but no config.json, is listed: nobody can say what it was.
    """
    seen: set[tuple[int, int]] = set()
    for directory in directories:
        if not directory.is_dir():
            raise UserError(f"{directory} is not a folder of runs: it does not exist (bench run makes one)")
        for place, below, files in os.walk(directory):
            below[:] = sorted(set(below) - {SWEEPS})  # their trials are none of a table's runs
            if "config.json" in files:
                there = Path(place).stat()
                if (identity := (there.st_dev, there.st_ino)) not in seen:
                    seen.add(identity)
                    yield Path(place)
            elif remains := sorted(_REMAINS.intersection(files)):
                problems.append(Problem("corrupt", place, f"no config.json beside {', '.join(remains)}"))


def _entry(row: Mapping[str, Any]) -> Entry:
    return row["algorithm"], row["task"], row["trajectories"]


def _described(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run was made with: its settings, and of a user's own method the digest of its file."""
    source = config.get("source")
    return config["settings"] | ({"source": source} if source else {})


def _read_run(folder: Path, problems: list[Problem]) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Return the run's row of `RUNS` and its config; None for a row if it is not finished, which is then listed."""
    config = read_config(folder)
    standing = state(folder)
    try:
        label = config.get("label")
        row: dict[str, Any] = {
            "algorithm": config["algorithm"] + (f"+{label}" if label else ""),
            "task": config["task"],
            "trajectories": int(config["trajectories"]),
            "seed": int(config["seed"]),
            "label": label,
        }
        if standing != "finished":
            why = {"failed": "broke off, see error.txt", "running": "still running"}.get(standing, "cut short")
            kind = "failed" if standing == "failed" else "unfinished"
            problems.append(Problem(kind, str(folder), why, _entry(row)))
            return None, config
        result = read_json(folder / "result.json")
        references = result.get("references") or {}
        demonstrations = config.get("demonstrations") or {}
        row |= {
            "iterations": int(result.get("iterations", config["iterations"])),
            "env_steps": int(result["env_steps"]),
            "wall_s": float(result["wall_s"]),
            "core_s": float(result["core_s"]),
            "n_episodes": int(result["n_episodes"]),
            **{name: _number(references.get(name)) for name in ("expert", "expert_deterministic", "random")},
            "demonstrations": demonstrations.get("digest"),
            "pairs": demonstrations.get("pairs"),
            "settings": _digest(_described(config)),
            "commit": config.get("commit"),
            "_mean": float(result["mean"]),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"config.json or result.json lacks {error}") from None
    layout = "/".join(folder.absolute().parts[-4:])
    if (
        _LAYOUT.fullmatch(layout)
        and layout != f"{row['algorithm']}/{row['task']}/n{row['trajectories']}/seed{row['seed']}"
    ):
        raise UserError(f"the folder is named {layout}, but its config.json is of {entry_name(*(row[k] for k in RUN))}")
    return row, config


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _read_evaluations(
    rows: list[dict[str, Any]], folders: list[Path], problems: list[Problem]
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Return the final episodes, the curves, and which of `rows` are sound; the others are listed."""
    sound = np.zeros(len(rows), dtype=bool)
    episodes, curves = [pd.DataFrame(columns=EPISODES)], [pd.DataFrame(columns=CURVES)]
    for start in range(0, len(rows), BATCH):
        batch = range(start, min(start + BATCH, len(rows)))
        contents: dict[int, bytes] = {}
        for i in batch:
            try:
                contents[i] = _content(folders[i] / "evaluations.csv")
            except UserError as error:
                problems.append(Problem("corrupt", str(folders[i]), str(error), _entry(rows[i])))
        table = _parse(contents, folders, problems)
        last = table["iteration"] == table["run"].map({i: rows[i]["iterations"] for i in batch})
        final = table[last].assign(start=table["eval_seed"] - table["episode"]).groupby("run")
        summary = final["return"].agg(["size", "mean"]).join(final["episode"].nunique())
        summary = summary.join(final["start"].agg(["min", "max"]).add_prefix("start_"))
        ends: dict[Any, dict[Any, Any]] = summary.to_dict("index")
        for i in table["run"].unique():
            what = "evaluations.csv does not hold the iteration that was the last"
            if i in ends:
                what = _contradiction(rows[i], ends[i])
            if what:
                problems.append(Problem("corrupt", str(folders[i]), what, _entry(rows[i])))
                continue
            sound[i] = True
            _remark(rows[i], int(ends[i]["start_min"]), problems)
        table = table[sound[table["run"]]]
        keys = pd.DataFrame([[rows[i][name] for name in RUN] for i in batch], columns=RUN, index=list(batch))
        episodes.append(table[last.reindex(table.index)].join(keys, on="run")[EPISODES])
        grouped = table.groupby(["run", "iteration"], sort=False)
        curve = grouped["return"].agg(mean="mean", n="size")
        curve["std"] = grouped["return"].std(ddof=0)
        curve["env_steps"] = grouped["env_steps"].first()
        curves.append(curve.reset_index().join(keys, on="run")[CURVES])
    return pd.concat(episodes[1:] or episodes), pd.concat(curves[1:] or curves), sound


def _contradiction(row: Mapping[str, Any], final: Mapping[Any, Any]) -> str:
    """Return in what a run's result.json and the final rows of its evaluations.csv contradict each other, or ""."""
    count = int(final["size"])
    if count != row["n_episodes"] or final["episode"] != count:
        return f"evaluations.csv holds {count} final episodes, result.json speaks of {row['n_episodes']}"
    if final["start_min"] != final["start_max"]:
        return "the final episodes in evaluations.csv do not begin at consecutive starts"
    if not math.isclose(final["mean"], row["_mean"], rel_tol=1e-9, abs_tol=1e-9):
        return "the mean in result.json is not that of the final episodes in evaluations.csv"
    return ""


def _remark(row: Mapping[str, Any], start: int, problems: list[Problem]) -> None:
    """List in what a sound run is not what a table wants."""
    remarks = []
    if row["n_episodes"] < FINAL_EPISODES:
        what = f"evaluated on {row['n_episodes']} episodes, not {FINAL_EPISODES}: a smoke run is no result"
        remarks.append(("unequal", what))
    if start != final_evaluation_seed(row["seed"]):
        remarks.append(("unequal", f"evaluated from start {start:,} on, not {final_evaluation_seed(row['seed']):,}"))
    if row["seed"] >= TUNING_SEEDS:
        remarks.append(("tuning", "a seed for tuning, which played other starts: its run is no result"))
    where = entry_name(*(row[name] for name in RUN))
    problems.extend(Problem(kind, where, what, _entry(row)) for kind, what in remarks)


def _content(path: Path) -> bytes:
    """Return the rows of an evaluations.csv without their header."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"evaluations.csv: {error.strerror}") from None
    if not content.startswith(_HEADER) or not content.endswith(b"\n") or len(content) == len(_HEADER):
        raise UserError(f"evaluations.csv is cut off or has other columns than {', '.join(_COLUMNS)}")
    return content[len(_HEADER) :]


def _parse(contents: dict[int, bytes], folders: list[Path], problems: list[Problem]) -> pd.DataFrame:
    """Return the rows of many evaluations.csv with the column ``run``; files that do not parse are listed."""
    try:
        table = pd.read_csv(
            io.BytesIO(b"".join(contents.values())),
            header=None,
            names=list(_COLUMNS),
            dtype=_COLUMNS,
            skip_blank_lines=False,
        )
        if not np.isfinite(table["return"]).all():
            raise ValueError("a return is not a finite number")
    except ValueError as error:
        if len(contents) > 1:  # one of them is bad: find out which
            parts = [_parse({i: content}, folders, problems) for i, content in contents.items()]
            return pd.concat(parts, ignore_index=True)
        for i in contents:
            problems.append(Problem("corrupt", str(folders[i]), f"evaluations.csv: {str(error).splitlines()[0]}"))
        table = pd.DataFrame({name: np.empty(0, kind) for name, kind in _COLUMNS.items()})
        contents = {}
    lengths = [content.count(b"\n") for content in contents.values()]
    return table.assign(run=np.repeat(np.fromiter(contents, dtype=np.int64, count=len(contents)), lengths))


def _digest(content: Any) -> str:
    """Return a short name of a JSON value's content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _presets(presets: Sequence[str], sound: np.ndarray) -> str:
    """Name the presets of the sound runs: "preset full", or "presets 12 full, 3 smoke"."""
    counts = Counter(preset for preset, counted in zip(presets, sound, strict=True) if counted)
    if len(counts) == 1:
        return f"preset {next(iter(counts))}"
    return "presets " + ", ".join(f"{n} {preset}" for preset, n in counts.most_common())


def _count(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")
