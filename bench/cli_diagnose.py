"""``bench diagnose``: what MGAIL's forward model and gradient are worth, measured."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli_text import integer, integers, names, positive, setting, table
from bench.errors import UserError
from bench.files import write_bytes, write_json, writing
from bench.progress import Display
from bench.record import read_config
from bench.tasks import TASKS, get_task

if TYPE_CHECKING:
    from algorithms.mgail import MGAIL
    from algorithms.mgail_settings import MGAILConfig

Row = dict[str, Any]
MODEL_HELP = """\
How far MGAIL's forward models are off, on episodes that the trained policy plays and the model never saw: one step
ahead, and k steps ahead from their own predictions at the actions that were taken. Errors are in deviations of the
normalised states; `unexplained` is the squared error as a share of how far the states really moved.

  bench diagnose model --task hopper                                      both models, trained alike, with seed 1000
  bench diagnose model --task hopper --passes 2000                        not to the end
  bench diagnose model runs/mgail-basic/hopper/n4/seed0                   a run's: from its checkpoint if it has one,
                                                                          else its training is done again, bit for bit
"""
GRADIENT_HELP = """\
The argument for a model-based gradient (section 2.3 of the paper), measured: on one batch of states, with one
discriminator, the gradient of the cost of h steps by MGAIL (the recursion through the learned model), by REINFORCE (the
score function, with a baseline from other draws of noise), and by the true simulator (the recursion through finite
differences of its steps), whose mean over the draws is the reference. Cosine with it, and variance over the draws.

  bench diagnose gradient --task hopper                                   of mgail-basic, half-way through its training
  bench diagnose gradient --task hopper --algorithms mgail-advanced --passes 1000 --horizons 1,10,100 --draws 32
  bench diagnose gradient runs/mgail-basic/hopper/n4/seed0 --out gradient
"""


def add_parser(commands: Any) -> None:
    """Add ``bench diagnose``."""
    parser = commands.add_parser(
        "diagnose",
        help="measure MGAIL's forward model and gradient",
        description="Measurements of MGAIL's parts; a table here, and JSON and a figure in --out.",
    )
    kinds = parser.add_subparsers(title="what", metavar="WHAT", required=True)
    for name, text, function, summary in (
        ("model", MODEL_HELP, model, "errors of the forward models, one and more steps ahead"),
        ("gradient", GRADIENT_HELP, gradient, "MGAIL's and REINFORCE's gradients against the true one"),
    ):
        one = kinds.add_parser(
            name, help=summary, description=text, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        default = "mgail-basic,mgail-advanced" if name == "model" else "mgail-basic"
        one.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folders of MGAIL runs")
        one.add_argument("--task", metavar="TASK", help=f"train anew on one of {', '.join(TASKS)}")
        one.add_argument("--algorithms", default=default, metavar="A,B", help=f"default: {default}")
        one.add_argument("--trajectories", metavar="N", help="demonstrated ones (default: the task's smallest size)")
        one.add_argument("--seed", default="1000", metavar="K", help="of a training (default: 1000)")
        one.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE", help="a setting")
        half = "all of them" if name == "model" else "half of them"
        one.add_argument("--passes", metavar="N", help=f"iterations of the training (default: {half})")
        one.add_argument("--out", type=Path, default=Path("diagnosis"), metavar="DIR", help="default: diagnosis")
        one.set_defaults(function=function)
        if name == "model":
            one.add_argument("--ahead", default="1,2,5,10,20,50", metavar="K,L", help="steps (default: 1,2,5,10,20,50)")
            one.add_argument("--steps", default="16000", metavar="N", help="of the environment (default: 16000)")
        else:
            one.add_argument("--horizons", default="1,2,5,10,20,50", metavar="H,L", help="default: 1,2,5,10,20,50")
            one.add_argument("--states", default="32", metavar="N", help="in the batch (default: 32)")
            one.add_argument("--draws", default="16", metavar="N", help="of action noise (default: 16)")


@dataclass(frozen=True)
class _Subject:
    """A training to be looked at: what it is, and how to do it with a report of its progress."""

    name: str
    task: str
    settings: "MGAILConfig"
    train: "Callable[[Callable[[float, str], None]], MGAIL]"


def model(args: argparse.Namespace) -> int:
    """Carry out ``bench diagnose model``."""
    ahead, steps, rows = sorted(integers(args.ahead)), positive(args.steps), 32
    if ahead[0] < 1:
        raise UserError("--ahead 0: at least one step")
    subjects = _subjects(args, 1.0)
    longest = ahead[-1] + max(subject.settings.past for subject in subjects)
    if steps // rows < longest:
        raise UserError(f"--steps {steps}: {ahead[-1]} steps ahead need {rows * longest} or more")

    def measure(subject: _Subject, algorithm: "MGAIL", report: Callable[[float], None]) -> list[Row]:
        from algorithms.model_errors import act, open_loop
        from bench.envs import make_env
        from bench.seeding import Streams

        seed = Streams(integer(args.seed)).integer("held-out")
        data = act(algorithm, make_env(get_task(subject.task), rows), steps // rows, seed, report)
        segment = data.segments(min(steps, 4000), ahead[-1], steps, subject.settings.past)
        return open_loop(algorithm.model, segment, ahead)

    found = _measure(subjects, measure)
    columns = ["model", "steps ahead", "stretches", "rms error", "median", "rms of no change", "unexplained"]
    keys = ("rms", "median", "rms_persistence", "unexplained")
    cells = [
        [name, str(r["k"]), str(r["n"]), *(_number(r[key]) for key in keys)] for name, _, rows in found for r in rows
    ]
    table("errors of forward models on held-out data, in normalised units", columns, cells)
    _write(args.out, "model", found)
    return 0


def gradient(args: argparse.Namespace) -> int:
    """Carry out ``bench diagnose gradient``."""
    horizons, states, draws = sorted(integers(args.horizons)), positive(args.states), positive(args.draws)
    if horizons[0] < 1 or draws < 2:
        raise UserError("--horizons begin at 1, and --draws at 2: a variance needs two")
    subjects = _subjects(args, 0.5)
    from algorithms.gradient_quality import check, compare
    from bench.envs import make_env
    from bench.seeding import Streams

    for subject in subjects:
        check(make_env(get_task(subject.task), 1), subject.task)

    def measure(subject: _Subject, algorithm: "MGAIL", report: Callable[[float], None]) -> list[Row]:
        task, seed = get_task(subject.task), Streams(integer(args.seed)).integer("diagnosis")
        return compare(algorithm, lambda rows: make_env(task, rows), horizons, states, draws, seed, report)

    found = _measure(subjects, measure)
    columns = ["training", "horizon", "gradient", "cosine", "of the mean", "variance", "relative", "norm", "ended"]
    keys = ("cosine", "cosine_mean", "variance", "relative_variance", "norm", "ended")
    cells = [
        [name, str(r["horizon"]), r["estimator"], *(_number(r[key]) for key in keys)]
        for name, _, rows in found
        for r in rows
    ]
    table(f"gradients on {states} states, {draws} draws of noise, against the simulator's", columns, cells)
    _write(args.out, "gradient", found)
    return 0


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _subjects(args: argparse.Namespace, share: float) -> list[_Subject]:
    """Return the trainings that are asked for, all checked before the first is begun."""
    from algorithms.mgail_settings import MGAILConfig
    from bench.config import RunConfig
    from bench.loop import resolve

    if bool(args.runs) == bool(args.task):
        raise UserError("name folders of runs, or --task for trainings of their own; not both")
    if args.runs and (args.settings or args.trajectories):
        raise UserError("--set and --trajectories are for a training of its own; a run has its settings")
    passes = positive(args.passes) if args.passes else None
    found: list[_Subject] = []

    def add(config: RunConfig, settings: Any, name: str, checkpoint: Path | None = None) -> None:
        if not isinstance(settings, MGAILConfig):
            raise UserError(f"{name}: {config.algorithm} is not MGAIL, which alone has a forward model")
        wanted = passes or max(round(share * settings.iterations), 1)
        count = min(wanted, settings.iterations)
        train = partial(_train, config, settings, count, checkpoint)
        found.append(_Subject(name, config.task, settings, train))

    for run in args.runs:
        recorded = read_config(run)
        cell: dict[str, Any] = {key: recorded[key] for key in ("algorithm", "task", "trajectories", "seed")}
        config = RunConfig(**cell, demonstrations=(recorded.get("demonstrations") or {}).get("id"))
        cls, _ = resolve(config)
        checkpoint = run / "checkpoint.pt"
        name = "/".join(run.resolve().parts[-4:])  # as the harness names its folders
        add(config, cls.Config.build(recorded["settings"]), name, checkpoint if checkpoint.exists() else None)
    for algorithm in names(args.algorithms) if args.task else ():
        task = get_task(args.task)
        size = positive(args.trajectories) if args.trajectories else task.trajectories[0]
        settings = dict(map(setting, args.settings))
        config = RunConfig(algorithm, task.name, size, integer(args.seed), settings=settings)
        add(config, resolve(config)[1], algorithm)
    return found


def _train(
    config: Any, settings: Any, passes: int, checkpoint: Path | None, report: Callable[[float, str], None]
) -> "MGAIL":
    """Return the learner after so many iterations; from a run's checkpoint if it is not behind that."""
    from bench.checkpoint import read_checkpoint, restore_global_generators, seed_global_generators
    from bench.envs import make_env
    from bench.loop import resolve, settle
    from bench.seeding import Streams
    from datasets.demonstrations import load_demonstrations

    settle()
    task = get_task(config.task)
    cls, _ = resolve(config)
    demonstrations = load_demonstrations(task, config.trajectories, config.seed, dataset_id=config.demonstrations)
    seed_global_generators(config.seed)
    algorithm: MGAIL = cls(settings, task, demonstrations, make_env(task, settings.num_envs), Streams(config.seed))
    if checkpoint is not None:
        state = read_checkpoint(checkpoint)
        if state["iteration"] <= passes:
            algorithm.load_state_dict(state["algorithm"])
            restore_global_generators(state["global"])
    while algorithm.iteration < passes:
        algorithm.iterate()
        report(algorithm.iteration / passes, f"training, {algorithm.env_steps} steps")
    return algorithm


def _measure(
    subjects: Sequence[_Subject], measure: "Callable[[_Subject, MGAIL, Callable[[float], None]], list[Row]]"
) -> list[tuple[str, Row, list[Row]]]:
    """Train and measure each; return names, what is known of the training, and rows."""
    found = []
    with Display([1.0] * len(subjects), 1) as display:
        for number, subject in enumerate(subjects):

            def report(done: float, note: str, number: int = number) -> None:
                display.update(0, number, done, note)

            display.start(0, subject.name)
            algorithm = subject.train(lambda done, note: report(0.6 * done, note))
            rows = measure(subject, algorithm, lambda done: report(0.6 + 0.4 * done, "measuring"))
            known = {"task": subject.task, "passes": algorithm.iteration, "env_steps": algorithm.env_steps}
            found.append((subject.name, known | {"settings": subject.settings.model_dump(mode="json")}, rows))
            display.end(0, number, subject.name)
    return found


def _write(out: Path, name: str, found: Sequence[tuple[str, Row, list[Row]]]) -> None:
    """Write NAME.json and the figure NAME.png and NAME.pdf."""
    from analysis.diagnosis import draw
    from analysis.plotting import images
    from bench.provenance import provenance

    subjects = [{"name": subject, **known, "rows": rows} for subject, known, rows in found]
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    write_json(out / f"{name}.json", {"subjects": subjects} | provenance())
    for file, data in images(name, lambda: draw(name, subjects)).items():
        write_bytes(out / file, data)
    print(f"In {out}: {name}.json, {name}.png, {name}.pdf")  # noqa: T201
