"""What the methods learn from: ``bench expert``, ``bench dataset``."""

import argparse
from pathlib import Path
from typing import Any

from bench.cli_text import add_command, integer, names, positive, setting, table
from bench.errors import UserError
from bench.progress import Display, duration
from bench.tasks import TASKS, get_task

EXPERT_HELP = """\
Experts are policies trained by TRPO on the true reward; the shipped ones are listed by `bench expert list`.

  bench expert list                                              the shipped experts and their returns
  bench expert evaluate --task hopper                            measure the shipped expert again
  bench expert train --task hopper                               train one; given again, it goes on where it was
  bench expert evaluate --task hopper --training expert_training/hopper      measure a trained one, and ship it
"""
DATASET_HELP = """\
Demonstrations are Minari data sets of whole episodes. Those of the shipped experts are made when they are first needed.
They lie in ./demonstrations, or where --store or the environment variable MGAIL_BENCH_DATA says.

  bench dataset make --task hopper --trajectories 100            more of them; those that are there stay as they are
  bench dataset make --task hopper --policy mine.py:act          of your own policy
  bench dataset list
  bench dataset verify                                           read every episode and check its digest
  bench dataset export mgailbench/hopper/expert-v0 hopper.npz    flat arrays (.npz), a table (.csv), Ho & Ermon's (.h5)
"""


def add_parsers(commands: Any) -> None:
    """Add ``bench expert`` and ``bench dataset``."""
    _add_expert(commands)
    _add_dataset(commands)


def _group(commands: Any, name: str, summary: str, text: str) -> Any:
    return add_command(commands, name, summary, text).add_subparsers(title="commands", metavar="COMMAND", required=True)


def _add_expert(commands: Any) -> None:
    group = _group(commands, "expert", "train, measure and list experts", EXPERT_HELP)
    train = group.add_parser("train", help="train an expert on the true reward")
    train.add_argument("--task", required=True, help=f"one of {', '.join(TASKS)}")
    train.add_argument("--seed", default="0", help="default: 0")
    train.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="a setting")
    train.add_argument("--out", type=Path, default=Path("expert_training"), metavar="DIR", help="folder of trainings")
    train.set_defaults(function=expert_train)
    measure = group.add_parser("evaluate", help="measure an expert over many episodes")
    measure.add_argument("--task", required=True, help=f"one of {', '.join(TASKS)}")
    measure.add_argument("--training", type=Path, metavar="DIR", help="a finished training, which is shipped then")
    measure.add_argument("--episodes", default="100", metavar="N", help="default: 100")
    measure.set_defaults(function=expert_evaluate)
    group.add_parser("list", help="list the shipped experts").set_defaults(function=expert_list)


def _add_dataset(commands: Any) -> None:
    group = _group(commands, "dataset", "make, list, check and export demonstrations", DATASET_HELP)
    make = group.add_parser("make", help="make or extend data sets of demonstrations")
    make.add_argument("--task", "--tasks", dest="tasks", metavar="A,B", help="default: all that have an expert")
    make.add_argument("--trajectories", metavar="N", help="1 to 240 (default: 50; Humanoid 240)")
    make.add_argument(
        "--policy", metavar="FILE.py:FUNCTION", help="observations [N, S] -> actions, instead of the expert"
    )
    make.add_argument("--id", metavar="ID", help="Minari id of the data set")
    make.set_defaults(function=dataset_make)
    show = group.add_parser("list", help="list the data sets in the store")
    show.set_defaults(function=dataset_list)
    check = group.add_parser("verify", help="read every episode and check its digest")
    check.add_argument("ids", nargs="*", metavar="ID", help="default: all in the store")
    check.set_defaults(function=dataset_verify)
    export = group.add_parser("export", help="write whole trajectories to one file")
    export.add_argument("id", metavar="ID")
    export.add_argument("file", type=Path, metavar="FILE", help="*.npz, *.csv or *.h5")
    export.add_argument("--trajectories", metavar="N", help="only the first N")
    export.set_defaults(function=dataset_export)
    for parser in (make, show, check, export):
        parser.add_argument("--store", type=Path, metavar="DIR", help="folder of the data sets")


def expert_train(args: argparse.Namespace) -> int:
    """Carry out ``bench expert train``."""
    from datasets.expert import ExpertTraining, train_expert

    task = get_task(args.task)
    display = Display([1.0], 1)

    def report(training: ExpertTraining) -> None:
        done, latest = training.iteration / training.config.iterations, training.curve[-1]["return"]
        display.update(0, 0, done, f"{training.env_steps} steps, return {latest:.4g}, best {training.best:.4g}")

    with display:
        display.start(0, f"expert of {task.name}")
        folder = train_expert(task, args.out, integer(args.seed), dict(map(setting, args.settings)), report)
    print(f"trained: {folder}")  # noqa: T201
    print(f"measure and ship it: bench expert evaluate --task {task.name} --training {folder}")  # noqa: T201
    return 0


def expert_evaluate(args: argparse.Namespace) -> int:
    """Carry out ``bench expert evaluate``."""
    from datasets.expert import evaluate_expert

    episodes = positive(args.episodes)
    record = evaluate_expert(get_task(args.task), args.training, episodes)
    rows = [[kind, f"{record[kind]['mean']:.2f}", f"{record[kind]['std']:.2f}"] for kind in _KINDS]
    table(f"expert of {args.task}, {episodes} episodes", ["actions", "mean return", "std"], rows)
    return 0


_KINDS = ("stochastic", "deterministic", "random")


def expert_list(args: argparse.Namespace) -> int:
    """Carry out ``bench expert list``."""
    from datasets.manifest import read_manifest

    rows = [
        [
            task,
            *(f"{record[kind]['mean']:.2f}" for kind in _KINDS),
            f"{record['env_steps']:,}",
            duration(record["wall_s"]),
        ]
        for task, record in read_manifest()["experts"].items()
    ]
    table("shipped experts", ["task", *_KINDS, "trained on steps", "in"], rows)
    without = [name for name in TASKS if name not in read_manifest()["experts"]]
    if without:
        print(f"none yet: {', '.join(without)}")  # noqa: T201
    return 0


def _show_datasets(title: str, summaries: Any) -> None:
    table(
        title,
        ["id", "task", "trajectories", "steps", "mean return", "MB", "digest"],
        [
            [
                one.id,
                one.task or "",
                str(one.trajectories),
                f"{one.steps:,}",
                "" if one.mean_return is None else f"{one.mean_return:.2f}",
                f"{one.size / 1e6:.1f}",
                (one.digest or "")[:12],
            ]
            for one in summaries
        ],
    )


def dataset_make(args: argparse.Namespace) -> int:
    """Carry out ``bench dataset make``."""
    from datasets.make import make_demonstrations
    from datasets.manifest import read_manifest

    chosen = names(args.tasks) if args.tasks else [name for name in TASKS if name in read_manifest()["experts"]]
    if (args.policy or args.id) and len(chosen) != 1:
        raise UserError("--policy and --id are one task's: name it with --task")
    count = None if args.trajectories is None else integer(args.trajectories)
    tasks = [get_task(name) for name in chosen]  # all names are checked before anything is made
    _show_datasets("made", [make_demonstrations(task, count, args.store, args.policy, args.id) for task in tasks])
    return 0


def dataset_list(args: argparse.Namespace) -> int:
    """Carry out ``bench dataset list``."""
    from datasets.demonstrations import list_demonstrations
    from datasets.store import default_store

    found = list_demonstrations(args.store)
    if not found:
        print(f"no data sets in {args.store or default_store()}; bench dataset make makes some")  # noqa: T201
        return 0
    _show_datasets(f"data sets in {args.store or default_store()}", found)
    return 0


def dataset_verify(args: argparse.Namespace) -> int:
    """Carry out ``bench dataset verify``."""
    from datasets.demonstrations import list_demonstrations, verify_demonstrations

    ids = args.ids or [one.id for one in list_demonstrations(args.store)]
    if not ids:
        raise UserError("there are no data sets to verify; bench dataset make makes some")
    _show_datasets("verified", [verify_demonstrations(name, args.store) for name in ids])
    return 0


def dataset_export(args: argparse.Namespace) -> int:
    """Carry out ``bench dataset export``."""
    from datasets.export import export_demonstrations

    count = None if args.trajectories is None else integer(args.trajectories)
    print(f"wrote {export_demonstrations(args.id, args.file, count, args.store)}")  # noqa: T201
    return 0
