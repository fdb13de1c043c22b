"""``bench run --executor slurm``: its flags, what it would submit, and submitting it."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import tracking
from bench.cli_text import positive, setting
from bench.errors import UserError
from bench.progress import duration

if TYPE_CHECKING:
    from bench.config import RunConfig
    from slurm.plan import Planned
    from slurm.submit import Cluster

_FLAGS = ("partition", "account", "time", "cores", "max_parallel", "slurm", "slurm_file")

HELP = """\
Jobs go back into the queue when they are preempted, run into their time limit or lose their node, and their runs go on
from their checkpoints. A file of settings holds the names of these flags and of sbatch's: time = 120, mem = "8G",
setup = ["module load gcc"]."""


def add_arguments(parser: Any) -> None:
    """Add the flags that tell SLURM what to give."""
    group = parser.add_argument_group("on SLURM (--executor slurm)", HELP)
    group.add_argument("--partition", metavar="P", help="where the jobs run (default: the cluster's)")
    group.add_argument("--account", metavar="A", help="who pays (default: yours)")
    group.add_argument("--time", metavar="MINUTES", help="time limit of a job, which may take several (default: 240)")
    group.add_argument("--cores", metavar="N", help="cores of a job, one run each at a time (default: 8)")
    group.add_argument("--max-parallel", metavar="N", help="jobs at the same time (default: 50)")
    group.add_argument(
        "--slurm", action="append", metavar="KEY=VALUE", help="any other setting of sbatch, such as mem=8G"
    )
    group.add_argument("--slurm-file", type=Path, metavar="FILE", help="settings in TOML; flags come before it")


def refuse_flags(args: argparse.Namespace) -> None:
    """Raise a `UserError` if a flag is given that means nothing to the local executor."""
    given = next((name for name in _FLAGS if getattr(args, name) is not None), None)
    if given:
        raise UserError(f"--{given.replace('_', '-')} is for --executor slurm")


def launch(args: argparse.Namespace, plan: "Callable[[], list[Planned]]") -> int:
    """Submit what is neither done nor under way; exit code 0. `plan` returns how the runs stand."""
    from slurm.launches import launching
    from slurm.plan import prepare
    from slurm.submit import check_here, submit

    cluster = cluster_of(args)
    if args.dry_run:
        return _dry_run(plan(), args.out, cluster)
    check_here()
    planned = plan()
    wandb = tracking.check(args.wandb)
    prepare(planned, args.out)
    with launching(args.out):
        jobs, counts = _jobs(plan(), args.out, cluster, _queued(args.out))
        told = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
        if not jobs:
            print(f"{sum(counts.values())} runs: {told or 'nothing to do'}; nothing was submitted")  # noqa: T201
            return 0
        made, number = submit(jobs, args.out, cluster, wandb)
    print(f"{sum(counts.values())} runs: {told}")  # noqa: T201
    print(f"submitted {_many(jobs)} of {cluster.cores} cores as {number} ({made.name}); logs in {made.folder}")  # noqa: T201
    print(f"bench status {args.out} tells how they stand, scancel --name {made.name} ends them")  # noqa: T201
    return 0


def _many(jobs: Sequence[Any]) -> str:
    return f"{len(jobs)} jobs" if len(jobs) != 1 else "1 job"


def cluster_of(args: argparse.Namespace) -> "Cluster":
    """Return what the flags ask SLURM for."""
    from slurm.submit import read_cluster

    given: dict[str, Any] = {name: getattr(args, name) for name in ("partition", "account")}
    for name in ("time", "cores", "max_parallel"):
        text = getattr(args, name)
        given[name] = None if text is None else positive(text)
    return read_cluster(args.slurm_file, given, dict(setting(text, "--slurm") for text in args.slurm or ()))


def _queued(out: Path) -> set[str]:
    """Return the runs that a launch before has still to do."""
    from slurm.launches import queue, read_launches, to_come

    launches = read_launches(out)
    queued = queue(launches)
    if queued is None:
        raise UserError("SLURM does not answer here, so it cannot be told which runs are in its queue already")
    return to_come(out, launches, queued)


def _jobs(
    planned: "Sequence[Planned]", out: Path, cluster: "Cluster", coming: set[str]
) -> "tuple[list[list[tuple[RunConfig, float]]], dict[str, int]]":
    """Return the jobs to be submitted for what is neither done nor `coming`, and how many runs stand how."""
    from slurm.pack import JOB_S, pack
    from slurm.submit import largest_array

    counts = dict.fromkeys(("finished", "running", "in the queue", "submitted"), 0)
    todo = []
    for one in planned:
        if one.state in ("finished", "running"):
            counts[one.state] += 1
        elif str(one.config.directory(Path())) in coming:
            counts["in the queue"] += 1
        else:
            counts["submitted"] += 1
            todo.append(one)
    known = any(one.seconds is not None for one in planned)
    runs = [(one.config, one.estimate if known else JOB_S) for one in todo]
    return pack(runs, cluster.cores, largest_array(), min(JOB_S, cluster.time * 30)), counts


def _dry_run(planned: "Sequence[Planned]", out: Path, cluster: "Cluster") -> int:
    from slurm.pack import wall
    from slurm.submit import script

    jobs, counts = _jobs(planned, out, cluster, _queued(out))
    forecasts = {one.config.directory(out): one.seconds for one in planned}
    for one in planned:
        print(one)  # noqa: T201
    for number, job in enumerate(jobs):
        first, last = job[0][0], job[-1][0]
        what = f"{first}" if len(job) == 1 else f"{len(job)} runs, {first} to {last}"
        known = all(forecasts[config.directory(out)] is not None for config, _ in job)
        length = f", about {duration(wall([job], cluster.cores, 1))}" if known else ""
        print(f"job {number}: {what}{length}")  # noqa: T201
    if jobs:
        print(f"\n{script(jobs, out, cluster)}")  # noqa: T201
    todo = [forecasts[config.directory(out)] for job in jobs for config, _ in job]
    hours = sum(seconds for seconds in todo if seconds is not None) / 3600
    told = ", ".join(f"{number} {what}" for what, number in counts.items() if number).replace("submitted", "to submit")
    print(f"{len(planned)} runs: {told or 'nothing to do'}")  # noqa: T201
    if todo:
        rest = sum(seconds is None for seconds in todo)
        without = f" (without {rest} that have no forecast)" if rest else ""
        length = "" if rest else f", {duration(wall(jobs, cluster.cores, cluster.max_parallel))} from start to end"
        print(  # noqa: T201
            f"{_many(jobs)} of {cluster.cores} cores, at most {cluster.max_parallel} at the same time: "
            f"about {hours:,.1f} core-hours{length}{without}"
        )
    return 0
