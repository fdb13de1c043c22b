"""``bench status``: how runs stand."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli_text import add_command, console, grid
from bench.progress import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from slurm.status import Standing, Survey

WATCH_S = 5.0  # seconds between two looks
MOST = 10  # runs that are named one by one, of a kind

STATUS_HELP = """\
How the runs in DIR stand, told by their records, their heartbeats and what was launched, with or without SLURM:

  done       with a result
  running    a process works on it: how far it is, its latest score and the time left
  waiting    launched, and to be begun or gone on with
  failed     broke off; the last line of its error.txt says why
  lost       its process is gone without a word
  stopped    told to go, with a checkpoint
  never ran  launched, but its launch is over: ended, or cancelled

What is lost, stopped or never ran goes on with the command that launched it; what failed is tried again by it.
Scores are fractions of the expert, of done runs and of those running now.
"""


def add_parser(commands: Any) -> None:
    """Add ``bench status``."""
    parser = add_command(commands, "status", "how runs stand", STATUS_HELP)
    parser.add_argument("directory", type=Path, nargs="?", default=Path("runs"), metavar="DIR", help="default: runs")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--watch", action="store_true", help="look again every few seconds, until nothing runs or waits")
    group.add_argument("--json", action="store_true", help="print one record per run as JSON")
    parser.set_defaults(function=status)


def status(args: argparse.Namespace) -> int:
    """Carry out ``bench status``."""
    from slurm.status import survey

    if args.watch:
        return _watch(args.directory)
    found = survey(args.directory)
    if args.json:
        runs = [one.to_json() for one in found.runs]
        content = {"schema": 2, "counts": found.counts(), "left_s": found.left_s, "unsure": found.unsure, "runs": runs}
        print(json.dumps(content, indent=1))  # noqa: T201
    else:
        console().print(*page(args.directory, found), sep="", end="", soft_wrap=True)
    return 0


def _watch(directory: Path) -> int:
    from rich.console import Group
    from rich.live import Live

    from slurm.status import survey

    screen, last = console(), ""
    with Live(console=screen, auto_refresh=False, transient=True) as live:
        while True:
            found = survey(directory)
            if screen.is_terminal:
                live.update(Group(*page(directory, found)), refresh=True)
            elif (line := headline(directory, found)) != last:
                print(line, flush=True)  # noqa: T201
                last = line
            if not {"running", "waiting"} & found.counts().keys():
                break
            time.sleep(WATCH_S)
    if screen.is_terminal:
        screen.print(*page(directory, found), sep="", end="")
    return 0


def headline(directory: Path, found: "Survey") -> str:
    """Return how all runs stand in one line."""
    counts = ", ".join(f"{number:,} {name}" for name, number in found.counts().items())
    left = "" if found.left_s is None else f"; about {duration(found.left_s)} left"
    return f"{len(found.runs):,} runs in {directory}: {counts}{left}"


def page(directory: Path, found: "Survey") -> "list[RenderableType]":
    """Return the headline, the table and what went wrong."""
    shown = list(found.counts())
    cells: dict[tuple[str, int, str], list[Standing]] = {}
    for one in found.runs:
        cells.setdefault((one.task, one.trajectories, one.algorithm), []).append(one)
    extra = ["score"] * ("done" in shown) + ["now at", "score now", "left"] * ("running" in shown)
    rows = []
    for (task, size, algorithm), runs in cells.items():
        states = [one.state for one in runs]
        done, now = ([one for one in runs if one.state == name] for name in ("done", "running"))
        numbers = [_mean(done)] * ("done" in shown)
        if "running" in shown:
            numbers += [_span([one.fraction for one in now]), _mean(now), _longest(now)]
        rows.append([task, str(size), algorithm, *(str(states.count(name) or "") for name in shown), *numbers])
    lines: list[RenderableType] = [
        grid(headline(directory, found), ["task", "size", "algorithm", *shown, *extra], rows),
    ]
    for name in ("failed", "lost"):
        bad = [one for one in found.runs if one.state == name]
        lines += [f"{name}: {one.run}" + (f": {one.error}" if one.error else "") + "\n" for one in bad[:MOST]]
        if len(bad) > MOST:
            lines.append(f"and {len(bad) - MOST} more {name}: bench status {directory} --json names them\n")
    if found.unsure:
        lines.append("SLURM does not answer here: what waits may have been cancelled\n")
    return lines


def _mean(runs: "Sequence[Standing]") -> str:
    scores = [one.score for one in runs if one.score is not None]
    return f"{sum(scores) / len(scores):.2f}" if scores else ""


def _span(fractions: Sequence[float | None]) -> str:
    known = sorted(f"{value:4.0%}" for value in fractions if value is not None)
    return "-".join(dict.fromkeys((known[0].strip(), known[-1].strip()))) if known else ""


def _longest(runs: "Sequence[Standing]") -> str:
    known = [one.left_s for one in runs if one.left_s is not None]
    return duration(max(known)) if known else ""
