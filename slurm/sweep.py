"""A sweep's workers as SLURM jobs: each job does what ``bench sweep --workers`` does on its cores."""

from dataclasses import replace

from submitit.helpers import DelayedSubmission

from bench.sweep import Sweep
from bench.sweep_local import execute
from slurm.job import give_back
from slurm.submit import Cluster, hand_over


class Workers:
    """The work of one job; submitit pickles it and calls it on its node.

    A job may begin again at any time: the study and the run records know what is left.

    Args:
        sweep: which sweep; its folder and its storage must be seen from the node.
        trials: how many trials there are to be.
        workers: its workers, one a core.
        tracking: mirror to Weights & Biases: disabled, offline or online.
    """

    def __init__(self, sweep: Sweep, trials: int, workers: int, tracking: str):
        self.sweep, self.trials, self.workers, self.tracking = sweep, trials, workers, tracking

    def __call__(self) -> None:
        """Work until no trial is left."""
        give_back(execute(self.sweep, self.trials, self.workers, self.tracking, in_job=True))

    def checkpoint(self) -> DelayedSubmission:
        """Tell submitit what to do when the job begins again: the same."""
        return DelayedSubmission(self)


def submit(sweep: Sweep, trials: int, workers: int, cluster: Cluster, tracking: str) -> tuple[int, str]:
    """Submit jobs of `cluster.cores` workers each, `workers` in all; returns how many, and SLURM's id of their array.

    Raises:
        UserError: there is no SLURM here, or it refuses.
    """
    here = replace(sweep, out=sweep.out.resolve())
    full, rest = divmod(workers, cluster.cores)
    jobs = [Workers(here, trials, number, tracking) for number in [cluster.cores] * full + [rest] * (rest > 0)]
    return len(jobs), hand_over(jobs, here.folder / "slurm", cluster, f"sweep-{sweep.name}")
