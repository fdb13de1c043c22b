"""What a SLURM job does: its runs on its cores, as the local executor does them.

A job may begin again at any time (node failure, preemption, time limit): finished runs are skipped, the others go on
from their checkpoints. So nothing has to be remembered but the list of its runs.
"""

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from submitit.helpers import DelayedSubmission

from bench.config import RunConfig
from bench.errors import UserError
from slurm.launches import failed_since
from slurm.local import execute


class Job:
    """The work of one job; submitit pickles it and calls it on its node.

    Args:
        runs: (run, its core seconds), longest first.
        out: folder of all runs.
        launch: folder of the launch that it is part of.
        cores: its cores.
        tracking: mirror to Weights & Biases: disabled, offline or online.
    """

    def __init__(self, runs: Sequence[tuple[RunConfig, float]], out: Path, launch: Path, cores: int, tracking: str):
        self.runs, self.out, self.launch, self.cores, self.tracking = tuple(runs), out, launch, cores, tracking

    def __call__(self) -> dict[str, int]:
        """Do what is left; return how many runs ended how.

        Raises:
            UserError: nothing can be written any more.
        """
        left = [(c, s) for c, s in self.runs if not failed_since(self.launch, c.directory(self.out))]
        configs, seconds = [config for config, _ in left], [value for _, value in left]
        summary = execute(configs, self.out, self.cores, seconds, self.tracking, in_job=True)
        give_back(summary.signal)
        if summary.unwritable is not None:
            raise UserError(summary.unwritable)
        ends = [end.status for _, end in summary.ended]
        return {status: ends.count(status) for status in set(ends)}

    def checkpoint(self) -> DelayedSubmission:
        """Tell submitit what to do when the job begins again: the same."""
        return DelayedSubmission(self)


def give_back(stopped: int | None) -> None:
    """Let submitit put the job back into the queue if the signal that stopped it does not mean that it is cancelled.

    To be called once all is checkpointed.
    """
    if stopped == signal.SIGUSR2 or (stopped == signal.SIGTERM and _goes_on()):
        signal.raise_signal(signal.SIGUSR2)


def _goes_on() -> bool:
    """Return whether SLURM, which sent SIGTERM, has not cancelled the job: then it is being preempted."""
    ask = ["squeue", "--noheader", "--job", os.environ["SLURM_JOB_ID"], "--format", "%T"]
    return subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip() == "RUNNING"
