"""``bench watch``: an episode as a video or a film strip."""

import argparse
from pathlib import Path
from typing import Any

from bench.cli_text import add_command, integer
from bench.errors import UserError
from bench.files import read_json
from bench.progress import Display
from bench.record import named
from bench.seeding import FINAL_EVALUATION_SEED
from bench.tasks import TASKS, Task, get_task

WATCH_HELP = """\
Play one episode of a policy in Gymnasium's own environment and draw it; no display is needed. FILE's suffix says what
it becomes: .mp4 or .gif a video at the task's own speed, .png a film strip of frames evenly spaced over the episode.

  bench watch --expert hopper                              the shipped expert, into ./hopper-expert.mp4
  bench watch runs/mgail-basic/hopper/n4/seed0             the policy of a run
  bench watch expert_training/ant/expert.pt --task ant     a policy's file
  bench watch --expert acrobot --out acrobot.png --frames 8 --stochastic --episode-seed 7
"""


def add_parser(commands: Any) -> None:
    """Add ``bench watch``."""
    parser = add_command(commands, "watch", "show a policy: a video or a film strip of an episode", WATCH_HELP)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("policy", type=Path, nargs="?", metavar="RUN", help="folder of a run, or a policy's file (*.pt)")
    what.add_argument("--expert", metavar="TASK", help=f"the shipped expert of {', '.join(TASKS)}")
    parser.add_argument("--task", metavar="TASK", help="the task of a policy's file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="*.mp4, *.gif or *.png (default: <name>.mp4 here)")
    parser.add_argument(
        "--episode-seed",
        default=str(FINAL_EVALUATION_SEED),
        metavar="K",
        help=f"where the episode starts (default: {FINAL_EVALUATION_SEED}, the first start of final evaluations)",
    )
    parser.add_argument("--frames", metavar="N", help="frames of a film strip (default: 6)")
    parser.add_argument("--stochastic", action="store_true", help="draw actions instead of taking the likeliest")
    parser.set_defaults(function=watch)


def watch(args: argparse.Namespace) -> int:
    """Carry out ``bench watch``."""
    seed = integer(args.episode_seed)
    frames = None if args.frames is None else integer(args.frames)
    task, policy, who = _chosen(args)
    out = args.out or Path(f"{task.name}-{who.replace(' ', '-')}.mp4")

    from bench import watch as watching
    from bench.loop import settle

    settle()
    watching.check_file(out, frames)
    with Display([1.0], 1) as display:
        display.start(0, f"{task.name}, {who}")
        episode = watching.watch(
            task,
            policy,
            out,
            who,
            seed=seed,
            stochastic=args.stochastic,
            frames=frames or watching.FRAMES,
            report=lambda done, note: display.update(0, 0, done, note),
        )
    how = "stochastic" if args.stochastic else "deterministic"
    outcome = f"return {episode.returns[-1]:.2f} in {len(episode)} steps"
    print(f"{task.name}, {who}, {how}, episode seed {seed}: {outcome}; in {out}")  # noqa: T201
    return 0


def _chosen(args: argparse.Namespace) -> tuple[Task, Any, str]:
    """Return the task, the policy, and what to call it."""
    from bench.policy import read_policy

    path: Path | None = args.policy
    if args.task and (path is None or path.suffix != ".pt"):
        raise UserError("--task is for a policy's file (*.pt): a run and an expert know their task")
    if path is None:
        from datasets.expert import load_expert

        task = get_task(args.expert)
        return task, load_expert(task), "expert"
    if path.suffix == ".pt":
        if not args.task:
            raise UserError(f"{path} does not say which task it is for: --task does")
        return get_task(args.task), read_policy(path), path.stem
    config = read_json(path / "config.json")
    task = get_task(config["task"])
    who = f"{named(config)} n{config['trajectories']} seed{config['seed']}"
    return task, read_policy(path / "policy.pt"), who
