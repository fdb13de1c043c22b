"""Looking at what was run: ``bench evaluate``, ``bench compare``."""

import argparse
from pathlib import Path
from typing import Any

from bench.cli_text import positive, table
from bench.errors import UserError
from bench.files import read_json
from bench.record import state


def add_parsers(commands: Any) -> None:
    """Add the commands that look at runs."""
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

    pair = commands.add_parser(
        "compare",
        help="compare two folders of runs, pair by pair",
        description="Compare the finished runs at or below A with those at or below B. A pair is the same task, size "
        "and seed under the same algorithm; where each folder holds one algorithm only, under those two. Differences "
        "are a - b; p is of the two-sided Wilcoxon signed-rank test over seeds, beside the least that so many pairs "
        "can give.",
    )
    for name in ("a", "b"):
        pair.add_argument(name, type=Path, metavar=name.upper(), help="folder of runs, or of one algorithm's")
    pair.set_defaults(function=compare)


def evaluate(args: argparse.Namespace) -> int:
    """Carry out ``bench evaluate``."""
    config = read_json(args.run / "config.json")
    episodes = positive(args.episodes)
    import numpy as np

    from bench.evaluate import evaluate as play
    from bench.loop import normalise, settle
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


def compare(args: argparse.Namespace) -> int:
    """Carry out ``bench compare``."""
    from analysis.wilcoxon import signed_rank
    from bench.frame import load

    cell = ["algorithm", "task", "trajectories"]
    frames = [load(path).groupby([*cell, "seed"])["return"].mean().reset_index() for path in (args.a, args.b)]
    for path, frame in zip((args.a, args.b), frames, strict=True):
        if frame.empty:
            raise UserError(f"{path} holds no finished run")
    found = [sorted(frame["algorithm"].unique()) for frame in frames]
    if all(len(algorithms) == 1 for algorithms in found) and found[0] != found[1]:
        for frame in frames:
            frame["algorithm"] = f"{found[0][0]} - {found[1][0]}"
    pairs = frames[0].merge(frames[1], on=[*cell, "seed"], suffixes=("_a", "_b"))
    if pairs.empty:
        raise UserError(f"{args.a} and {args.b} have no run in common: same algorithm, task, size and seed")
    rows = []
    for (algorithm, task, size), group in pairs.groupby(cell):
        a, b = group["return_a"].to_numpy(), group["return_b"].to_numpy()
        test = signed_rank(a, b)
        numbers = [f"{value:.2f}" for value in (a.mean(), b.mean(), (a - b).mean())]
        p = ["equal", ""] if test.p_value is None else [f"{test.p_value:.3g}", f"{test.min_attainable_p:.3g}"]
        rows.append([str(task), str(size), str(algorithm), str(len(group)), *numbers, *p])
    table(
        f"a: {args.a}, b: {args.b}",
        ["task", "size", "algorithm", "pairs", "mean a", "mean b", "a - b", "p", "least p"],
        rows,
    )
    return 0
