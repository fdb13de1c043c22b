"""``bench sync``: mirror run records after the fact, many at a time."""

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Literal

from bench.errors import UserError
from bench.lock import Lock
from bench.record import state
from bench.tracking import Tracker, in_sync

Synced = Literal["mirrored", "in sync", "running", "incomplete"]


def mirror(directory: Path, mode: str, artifacts: bool = False) -> list[str]:
    """Mirror one record as it stands; returns what went wrong."""
    try:
        with Lock(directory / "sync", f"the mirror of {directory}"):
            tracker = Tracker(mode, directory)
            tracker.start()
            tracker.finish(artifacts)
            return tracker.remarks
    except UserError as error:  # another sync is at it, or nothing can be written there
        return [str(error)]


def sync(
    runs: Sequence[Path],
    mode: str = "online",
    workers: int = 4,
    artifacts: bool = False,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[Path, Synced], list[str]]:
    """Mirror those of the records that are not mirrored as they stand.

    A record that is running is left alone: its owner mirrors it. Offline, wandb's files are written anew below each
    record, for ``wandb sync``.

    Args:
        runs: the records' folders.
        mode: offline or online.
        workers: how many are mirrored at the same time.
        artifacts: also keep each finished run's policy.
        report: called with how many are done, and how many there are to do.

    Returns:
        What was done with each record, and the remarks.
    """
    found: dict[Path, Synced] = {}
    for run in runs:
        if state(run) == "running":
            found[run] = "running"
        else:
            found[run] = "in sync" if mode == "online" and in_sync(run, artifacts) else "mirrored"
    todo = [run for run, what in found.items() if what == "mirrored"]
    remarks: list[str] = []
    if not todo:
        return found, remarks
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(todo)), mp_context=context) as pool:
        futures = {pool.submit(mirror, run, mode, artifacts): run for run in todo}
        for done, future in enumerate(as_completed(futures), start=1):
            if problems := future.result():
                found[futures[future]] = "incomplete"
                remarks += problems
            report(done, len(todo))
    return found, remarks
