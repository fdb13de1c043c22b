"""``bench sync``."""

import argparse
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.cli_text import add_command, positive
from bench.errors import UserError

SYNC_HELP = """\
Mirror the run records below DIR to Weights & Biases: settings, curves, result and the table of final episodes, one
wandb run per record, whose id follows from the record. Records that are mirrored as they stand are skipped, so the same
command can be given again at any time; runs that are going on are left to whoever runs them.

  bench sync                              what is in ./runs and not yet online
  bench sync runs/sweeps --workers 8
  bench sync --artifacts                  with each run's policy and the demonstrations it comes from
  bench sync --wandb offline              write wandb's own files below each record, to carry them elsewhere

Server, entity and project are wandb's own settings (WANDB_BASE_URL, WANDB_ENTITY, WANDB_PROJECT; wandb login).
"""


def add_parser(commands: Any) -> None:
    """Add ``bench sync``."""
    parser = add_command(commands, "sync", "mirror run records to Weights & Biases", SYNC_HELP)
    parser.add_argument("directory", type=Path, nargs="?", default=Path("runs"), metavar="DIR", help="default: runs")
    parser.add_argument("--wandb", choices=("online", "offline"), default="online", help="where to (default: online)")
    parser.add_argument("--workers", default="4", metavar="N", help="records mirrored at the same time (default: 4)")
    parser.add_argument("--artifacts", action="store_true", help="also the policy and the demonstrations' lineage")
    parser.set_defaults(function=command)


def command(args: argparse.Namespace) -> int:
    """Carry out ``bench sync``; exit code 1 if a mirror is not complete."""
    from bench import tracking
    from bench.progress import CALM_S, duration
    from bench.record import find_runs
    from bench.sync import sync

    workers = positive(args.workers)
    runs = find_runs([args.directory])
    if args.wandb == "online" and (why := tracking.unavailable()):
        raise UserError(f"wandb: {why}; --wandb offline needs neither")
    begun = spoken = time.monotonic()

    def report(done: int, total: int) -> None:
        nonlocal spoken
        now = time.monotonic()
        if done < total and now - spoken > CALM_S:
            spoken = now
            left = duration((now - begun) * (total - done) / done)
            print(f"{done} of {total} records mirrored, about {left} left", file=sys.stderr)  # noqa: T201

    found, remarks = sync(runs, args.wandb, workers, args.artifacts, report)
    for remark in remarks:
        print(f"note: {remark}", file=sys.stderr)  # noqa: T201
    counts = Counter(found.values())
    parts = ", ".join(f"{number} {what}" for what, number in counts.items())
    print(f"{len(found)} records in {args.directory}: {parts or 'nothing to mirror'}")  # noqa: T201
    return 1 if counts["incomplete"] else 0
