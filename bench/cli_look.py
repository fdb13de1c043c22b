"""Looking at what was run: ``bench evaluate``."""

import argparse
from pathlib import Path
from typing import Any

from bench.cli_text import positive
from bench.files import read_json
from bench.record import normalise, state


def add_parsers(commands: Any) -> None:
    """Add the command that looks at a run."""
    one = commands.add_parser(
        "evaluate",
        help="play a finished run's policy again",
        description="Play the policy of a finished run from the starts of its final evaluation; writes nothing. "
        "With the run's own number of episodes this gives the recorded numbers again.",
    )
    one.add_argument("run", type=Path, metavar="RUN", help="folder of the run, such as runs/bc/cartpole/n1/seed0")
    one.add_argument("--episodes", default="50", metavar="N", help="number of episodes (default: 50)")
    one.add_argument("--stochastic", action="store_true", help="draw actions instead of taking the likeliest")
    one.set_defaults(function=evaluate)


def evaluate(args: argparse.Namespace) -> int:
    """Carry out ``bench evaluate``."""
    config = read_json(args.run / "config.json")
    episodes = positive(args.episodes)
    import numpy as np

    from bench.evaluate import evaluate as play
    from bench.loop import settle
    from bench.policy import load_policy, sampler
    from bench.seeding import Streams, final_evaluation_seed
    from bench.tasks import get_task

    settle()
    act: Any = load_policy(args.run)
    if args.stochastic:
        act = sampler(act.policy, Streams(config["seed"]).torch("evaluation"))
    first = final_evaluation_seed(config["seed"])
    outcome = play(act, get_task(config["task"]), range(first, first + episodes))
    mean, references = float(np.mean(outcome.returns)), config["references"]
    how = "stochastic" if args.stochastic else "deterministic"
    print(f"{how}: return {mean:.2f} ± {np.std(outcome.returns):.2f} over {episodes} episodes", end="")  # noqa: T201
    score = normalise(mean, references.get("expert"), references.get("random"))
    print("" if score is None else f", normalised {score:.3f}")  # noqa: T201
    if state(args.run) == "finished":
        result = read_json(args.run / "result.json")
        print(  # noqa: T201
            f"recorded: return {result['mean']:.2f} ± {result['std']:.2f} over {result['n_episodes']} episodes"
        )
    return 0
