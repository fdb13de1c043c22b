"""``bench run``: one run, or a grid of them."""

import argparse
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import cli_slurm, tracking
from bench.cli_text import add_command, integer, integers, names, positive, seeds, setting
from bench.config import PRESETS, RunConfig
from bench.errors import UserError
from bench.progress import Display, duration
from bench.tasks import TASKS

if TYPE_CHECKING:
    from slurm.plan import Planned

_PACKAGES = ("bench", "algorithms", "datasets", "analysis", "slurm")

RUN_HELP = """\
Run one method on one task, or a whole grid. Finished runs are skipped and those cut short go on, so the same command
can be given again at any time. Records stand in OUT/<algorithm>/<task>/n<trajectories>/seed<seed>/.

  bench run --table1                                  the quick preset: a real result in at most 20 min on two cores
  bench run --table1 --preset smoke --out smoke       every entry for a second or two: proves that everything works
  bench run --table1 --preset full                    our tuned budgets, every entry, 11 seeds
  bench run --figure5 --preset full                   both MGAIL variants on all tasks
  bench run --ablations --out ablations               what each ingredient of MGAIL is worth (then: bench analyze
                                                      --interactions --runs ablations)
  bench run --table1 --preset full --tasks cartpole,acrobot --seeds 5 --dry-run
  bench run --table1 --preset full --executor slurm --partition short --time 120 --slurm mem=8G
  bench run --task hopper --algorithm mgail-advanced --trajectories 4 --seed 0 --set horizon=50 --label long
  bench run --task cartpole --algorithm my_method.py:MyMethod --trajectories 1 --seed 0
"""


def add_parser(commands: Any) -> None:
    """Add ``bench run``."""
    parser = add_command(commands, "run", "run one method on one task, or a grid of them", RUN_HELP)
    what = parser.add_argument_group("what to run")
    what.add_argument("--table1", action="store_true", help="the entries of Table 1")
    what.add_argument("--figure5", action="store_true", help="the learning curves of Figure 5")
    what.add_argument(
        "--ablations",
        nargs="?",
        const="",
        metavar="A,B",
        help="MGAIL's recipe with one ingredient taken away at a time (default: all, on hopper, seeds 1000 to 1002)",
    )
    what.add_argument("--preset", choices=PRESETS, default="quick", help="which entries and budgets (default: quick)")
    what.add_argument("--task", "--tasks", dest="tasks", metavar="A,B", help=f"of {', '.join(TASKS)}")
    what.add_argument(
        "--algorithm", "--algorithms", dest="algorithms", metavar="A,B", help="names, or my_file.py:MyClass"
    )
    what.add_argument("--trajectories", metavar="1,4", help="sizes of the expert's data set, in trajectories")
    group = what.add_mutually_exclusive_group()
    group.add_argument("--seed", metavar="K", help="this run seed")
    group.add_argument("--seeds", metavar="N | A,B,C", help="N run seeds (5 means 0 to 4), or these")
    what.add_argument("--demonstrations", metavar="ID", help="a local Minari data set instead of our own")
    what.add_argument("--only", choices=("missing", "failed"), help="only runs that failed, or only the others")
    how = parser.add_argument_group("the method's settings")
    how.add_argument(
        "--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="override one setting"
    )
    how.add_argument("--variant", metavar="NAME", help="a named set of settings of the method")
    how.add_argument("--label", metavar="X", help="record the runs as <algorithm>+X")
    where = parser.add_argument_group("where and how")
    where.add_argument(
        "--out", type=Path, default=Path("runs"), metavar="DIR", help="folder of all runs (default: runs)"
    )
    where.add_argument(
        "--workers", metavar="N", help="processes of one thread each (default: the cores of this machine)"
    )
    where.add_argument("--executor", choices=("local", "slurm"), default="local", help="who runs them (default: local)")
    where.add_argument(
        "--wandb", choices=tracking.MODES, default="disabled", help="mirror to Weights & Biases (default: disabled)"
    )
    where.add_argument("--dry-run", action="store_true", help="print the runs and a forecast, and run nothing")
    cli_slurm.add_arguments(parser)
    parser.set_defaults(function=command)


def check_packages() -> None:
    """Check that our packages are the ones that are imported: `datasets` is also Hugging Face's name."""
    root = Path(__file__).resolve().parent.parent
    for name in _PACKAGES:
        spec = importlib.util.find_spec(name)
        where = [] if spec is None else [Path(p).resolve() for p in (spec.submodule_search_locations or ())]
        if root / name not in where:
            found = f"found in {where[0]}" if where else "not found"
            raise UserError(
                f"the package {name!r} of this project ({root / name}) is {found}; another of that name shadows it: "
                "use a virtual environment of its own (make setup), or run from another folder"
            )


def configs_of(args: argparse.Namespace) -> tuple[tuple[RunConfig, ...], bool]:
    """Return the runs that the arguments ask for, longest first, and whether they name exactly one themselves."""
    from slurm import grid

    tasks = names(args.tasks) if args.tasks else None
    algorithms = names(args.algorithms) if args.algorithms else None
    sizes = integers(args.trajectories) if args.trajectories else None
    chosen = [integer(args.seed)] if args.seed is not None else seeds(args.seeds) if args.seeds else None
    common: dict[str, Any] = {
        "variant": args.variant,
        "settings": dict(setting(text) for text in args.settings),
        "label": args.label,
        "demonstrations": args.demonstrations,
    }
    if args.ablations is not None:
        from slurm.ablations import ablations

        labels = names(args.ablations) if args.ablations else None
        return ablations(labels, tasks, algorithms, sizes, chosen, preset=args.preset, **common), False
    if args.table1 or args.figure5:
        if tasks is None:
            tasks = _tasks_with_demonstrations(args)
        make = [grid.table1] * args.table1 + [grid.figure5] * args.figure5
        found = [c for one in make for c in one(args.preset, tasks, algorithms, sizes, chosen, **common)]
        unique = {config.directory(args.out): config for config in found}
        return grid.longest_first(unique.values()), False
    missing = [
        flag for flag, value in (("--task", tasks), ("--algorithm", algorithms), ("--trajectories", sizes)) if not value
    ]
    if missing:
        raise UserError(f"name a grid (--table1, --figure5) or all of a run: {', '.join(missing)} is missing")
    assert tasks is not None
    assert algorithms is not None
    assert sizes is not None
    found = list(grid.product(tasks, algorithms, sizes, chosen or [0], preset=args.preset, **common))
    return tuple(found), len(found) == 1


def _tasks_with_demonstrations(args: argparse.Namespace) -> list[str] | None:
    """Return the tasks that have an expert to learn from, for a grid that names none; the others are told."""
    if args.demonstrations:
        raise UserError("--demonstrations is one task's: name the task with --task")
    from datasets.manifest import read_manifest

    experts = read_manifest()["experts"]
    without = [name for name in TASKS if name not in experts]
    if not without:
        return None
    if args.preset != "quick":
        print(f"bench: left out, for want of an expert: {', '.join(without)}", file=sys.stderr)  # noqa: T201
        return [name for name in TASKS if name in experts]
    return None


def command(args: argparse.Namespace) -> int:
    """Carry out ``bench run``; returns the exit code."""
    check_packages()
    if args.executor == "local":
        cli_slurm.refuse_flags(args)
    elif args.workers:
        raise UserError("--workers is for --executor local; --cores says how many runs a job does at a time")
    workers = positive(args.workers) if args.workers else len(os.sched_getaffinity(0))
    configs, single = configs_of(args)
    if not configs:
        raise UserError("nothing to run: no entry fits these filters")
    from slurm.plan import plan

    def wanted() -> "list[Planned]":
        only = {"failed": ("failed",), "missing": ("missing", "cut short", "running")}.get(args.only)
        return [one for one in plan(configs, args.out) if only is None or one.state in only]

    if args.executor == "slurm":
        return cli_slurm.launch(args, wanted)
    planned = wanted()
    if args.dry_run:
        return _dry_run(planned, workers)
    wandb = tracking.check(args.wandb)
    if single and planned:
        return _run_single(planned[0], args.out, wandb)
    return _run_grid(planned, args.out, workers, wandb)


def _dry_run(planned: "Sequence[Planned]", workers: int) -> int:
    from slurm.forecast import makespan

    for one in planned:
        print(one)  # noqa: T201
    todo = [one for one in planned if one.state != "finished"]
    known = [one.seconds for one in todo if one.seconds is not None]
    total = f"{len(planned)} runs, {len(todo)} to do"
    if known:
        total += f": about {duration(sum(known))} of one core, {duration(makespan(known, workers))} on {workers}"
        total += f" (without {len(todo) - len(known)} that have no forecast)" if len(known) < len(todo) else ""
    print(total)  # noqa: T201
    return 0


def _run_single(planned: "Planned", out: Path, wandb: str) -> int:
    """Do one run in this process, which is where a method is best debugged."""
    from bench import loop
    from slurm.local import listening
    from slurm.plan import prepare

    config = planned.config
    display = Display([1.0], 1)

    def report(progress: loop.Progress) -> None:
        note = f"iteration {progress.iteration}/{progress.iterations}, {progress.env_steps} steps"
        if progress.mean_return is not None:
            note += f", return {progress.mean_return:.4g}"
        display.update(0, 0, progress.iteration / progress.iterations, note)

    prepare([planned], out)
    with listening() as stops:

        def stop() -> bool:
            if stops.count > 1:  # asked twice: at once, without a checkpoint
                raise KeyboardInterrupt
            return bool(stops.count)

        with display:
            display.start(0, str(config))
            outcome = loop.run(config, out, report, stop, wandb)
        if outcome.status == "stopped":
            print(f"stopped; the same command goes on: {config}", file=sys.stderr)  # noqa: T201
            return 128 + (stops.signal or signal.SIGTERM)
    for remark in outcome.remarks:
        print(f"note: {remark}", file=sys.stderr)  # noqa: T201
    result = outcome.result
    assert result is not None
    text = f"{config}: return {result['mean']:.2f} ± {result['std']:.2f} over {result['n_episodes']} episodes"
    if result["normalised"] is not None:
        text += f", normalised {result['normalised']:.3f}"
    text += f"; {result['env_steps']:,} steps, {duration(result['core_s'])}"
    print(text + (" (finished before)" if outcome.status == "skipped" else ""))  # noqa: T201
    print(f"record: {config.directory(out)}")  # noqa: T201
    return 0


def _run_grid(planned: "Sequence[Planned]", out: Path, workers: int, wandb: str) -> int:
    """Do a grid on this machine and say how it went; exit code 1 if a run failed."""
    from slurm.launches import local_launch
    from slurm.local import execute
    from slurm.plan import prepare

    prepare(planned, out)
    todo = [one for one in planned if one.state != "finished"]
    with local_launch(out, [(str(one.config.directory(Path())), one.seconds) for one in todo]):
        summary = execute([one.config for one in todo], out, workers, [one.estimate for one in todo], wandb)
    counts = {
        "finished": summary.count("finished"),
        "finished before": len(planned) - len(todo) + summary.count("skipped"),
        "cut short": summary.count("stopped") + summary.count("unwritable"),
        "in use by another process": summary.count("busy"),
        "failed": summary.count("failed"),
        "not begun": len(todo) - len(summary.ended),
    }
    parts = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    print(f"{len(planned)} runs: {parts or 'nothing to do'}; records in {out}")  # noqa: T201
    failed = [(config, end) for config, end in summary.ended if end.status == "failed"]
    for config, end in failed[:10]:
        print(f"failed: {config}: {end.message} ({config.directory(out)})", file=sys.stderr)  # noqa: T201
    if len(failed) > 10:
        print(f"and {len(failed) - 10} more: bench status {out}", file=sys.stderr)  # noqa: T201
    if summary.unwritable is not None:
        raise UserError(summary.unwritable)
    if summary.signal is not None:
        print("the same command goes on from here", file=sys.stderr)  # noqa: T201
        return 128 + summary.signal
    if counts["failed"]:
        return 1
    return 2 if counts["in use by another process"] else 0
