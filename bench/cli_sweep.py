"""``bench sweep``."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import cli_slurm, tracking
from bench.cli_run import check_packages
from bench.cli_text import add_command, names, positive, seeds, setting
from bench.config import PRESETS
from bench.seeding import TUNING_SEEDS
from bench.tasks import TASKS, get_task

if TYPE_CHECKING:
    from bench.sweep import Sweep
    from slurm.submit import Cluster

SWEEP_HELP = """\
Search a method's settings with Optuna. A trial is one setting; its score is the mean final normalised score over all
tasks and seeds. The settings that the tasks are tuned to come first; a trial that falls behind the best is pruned. The
best setting is printed as --set flags, and figures of the sweep are drawn below OUT/sweeps/<name>/, where its runs
stand. The same command goes on where it was, with a larger --trials too; on other machines that share the folder, more
workers join in. A trial whose worker died is done again from its runs' checkpoints.

  bench sweep --algorithm mgail-basic --tasks cartpole,acrobot --params temperature,horizon
  bench sweep --algorithm mgail-basic --tasks hopper --params horizon=10:80:log --trials 20 --seeds 2
  bench sweep --algorithm gail-trpo --tasks cartpole --params discriminator_steps,init=random/bc --workers 2
  bench sweep --algorithm mgail-basic --tasks cartpole --params entropy=0.001:1:log --storage sqlite:///sweeps.db
  bench sweep --algorithm mgail-basic --tasks hopper --params horizon --executor slurm --workers 32 --cores 16
"""


def add_parser(commands: Any) -> None:
    """Add ``bench sweep``."""
    parser = add_command(commands, "sweep", "search a method's settings", SWEEP_HELP)
    what = parser.add_argument_group("what to search")
    what.add_argument("--algorithm", required=True, metavar="A", help="a method, or my_file.py:MyClass")
    what.add_argument("--task", "--tasks", dest="tasks", required=True, metavar="A,B", help=f"of {', '.join(TASKS)}")
    what.add_argument(
        "--params",
        required=True,
        metavar="A,B=LOW:HIGH[:log],C=X/Y",
        help="settings to search, with a range or choices (defaults: around what is tuned, or all choices)",
    )
    what.add_argument("--trials", default="30", metavar="N", help="settings to try in all (default: 30)")
    what.add_argument(
        "--seeds", default="3", metavar="N | A,B,C", help=f"N run seeds from {TUNING_SEEDS} on, or these (default: 3)"
    )
    what.add_argument("--trajectories", metavar="N", help="size of the data set (default: each task's smallest)")
    what.add_argument("--demonstrations", metavar="ID", help="a local Minari data set instead of our own")
    what.add_argument("--preset", choices=PRESETS, default="full", help="budgets of the runs (default: full)")
    what.add_argument(
        "--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="the same in all trials"
    )
    what.add_argument("--variant", metavar="NAME", help="a named set of settings of the method")
    where = parser.add_argument_group("where and how")
    where.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of all runs (default: runs)"
    )
    where.add_argument("--name", metavar="X", help="name of the sweep (default: from its method, tasks and settings)")
    where.add_argument(
        "--storage", metavar="FILE | URL", help="journal file, or database (default: a journal in the sweep's folder)"
    )
    where.add_argument("--workers", metavar="N", help="processes of one thread each (default: this machine's cores)")
    where.add_argument("--executor", choices=("local", "slurm"), default="local", help="who runs them (default: local)")
    where.add_argument(
        "--wandb", choices=tracking.MODES, default="disabled", help="mirror to Weights & Biases (default: disabled)"
    )
    cli_slurm.add_arguments(parser)
    parser.set_defaults(function=command)


def sweep_of(args: argparse.Namespace) -> "Sweep":
    """Return the sweep that the arguments ask for."""
    from bench.sweep import Sweep, default_name
    from bench.sweep_space import read_space

    tasks = [get_task(name) for name in names(args.tasks)]
    settings = dict(setting(text) for text in args.settings)
    found = [task.name for task in tasks]
    space = read_space(names(args.params), args.algorithm, found, args.preset, args.variant, settings)
    size = positive(args.trajectories) if args.trajectories else None
    return Sweep(
        args.name or default_name(args.algorithm, found, space),
        args.algorithm,
        tuple((task.name, size or task.trajectories[0]) for task in tasks),
        tuple(seeds(args.seeds, TUNING_SEEDS)),
        space,
        args.preset,
        args.variant,
        settings,
        args.demonstrations,
        args.out,
        args.storage,
    )


def command(args: argparse.Namespace) -> int:
    """Carry out ``bench sweep``; exit code 1 if trials are missing or none is complete."""
    check_packages()
    trials = positive(args.trials)
    cluster = None
    if args.executor == "local":
        cli_slurm.refuse_flags(args)
    else:
        from slurm.submit import check_here

        check_here()
        cluster = cli_slurm.cluster_of(args)
    workers = positive(args.workers) if args.workers else None
    sweep = sweep_of(args)
    from datasets.demonstrations import load_demonstrations

    sweep.runs(0, {})  # what no run could be, before anything is written
    from bench.sweep import open_study

    study = open_study(sweep)
    for task, size in sweep.cells:
        load_demonstrations(get_task(task), size, 0, dataset_id=sweep.demonstrations, show=True)
    signal = None
    if sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False)) < trials:
        wandb = tracking.check(args.wandb)
        if cluster is not None:
            return _submit(sweep, trials, workers or cluster.cores, cluster, wandb)
        from bench.sweep_local import execute

        signal = execute(sweep, trials, workers or len(os.sched_getaffinity(0)), wandb)
    from bench.sweep_report import report

    done = report(sweep, study)
    if signal is not None:
        print("the same command goes on from here", file=sys.stderr)  # noqa: T201
        return 128 + signal
    return 0 if done >= trials else 1


def _submit(sweep: "Sweep", trials: int, workers: int, cluster: "Cluster", wandb: str) -> int:
    """Submit workers to SLURM and return at once; the same command tells what was found once all trials are done."""
    from slurm.sweep import submit

    jobs, number = submit(sweep, trials, workers, cluster, wandb)
    print(f"submitted {jobs} jobs of up to {cluster.cores} workers as {number}; logs in {sweep.folder / 'slurm'}")  # noqa: T201
    print(f"bench status {sweep.folder} tells how the runs stand")  # noqa: T201
    return 0
