"""Training end to end, updates included: against physics alone, and against peers on the same task and steps.

Run as ``python benchmarks/training.py [--tasks hopper,halfcheetah] [--steps 1000000] [--seeds 1] [--peers PYTHON]``.

``trpo``        TRPO on the true reward, against sb3-contrib's TRPO
``gail-trpo``   GAIL with TRPO on four demonstrated trajectories of the shipped expert, against
                HumanCompatibleAI/imitation's GAIL with its own PPO and with sb3-contrib's TRPO as generator

Everybody has one process with one thread, is timed in its CPU seconds (start and evaluation apart), and is scored by
its last policy, acting deterministically, over the same 20 starts. Peers have the settings that their own projects
publish for the task (see `peers.py`); ours are `TRPO` below, and `bench run`'s for GAIL. Ours is timed in its parts,
too, and beside it the limit: `mj_step` alone in states of the training.

The peers live in a virtual environment of their own, for instance in the ignored folder ``.peers``. imitation and seals
come without what they ask for, Gymnasium 0.29, which has no v5 tasks::

    python3 -m venv .peers
    .peers/bin/pip install --requirement benchmarks/peers.txt
    .peers/bin/pip install --no-deps imitation==1.0.1 seals==0.2.1
    python benchmarks/training.py --peers .peers/bin/python
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
from side_by_side import Limit, Rows, command_line, markdown, origin

from algorithms import resolve
from bench.cli_text import names, positive, seeds
from bench.envs import make_env
from bench.errors import UserError, unknown
from bench.evaluate import evaluate
from bench.progress import Display
from bench.seeding import FINAL_EVALUATION_SEED, Streams
from bench.tasks import Task, get_task
from datasets.demonstrations import load_demonstrations
from datasets.expert import RECIPES, ExpertConfig, ExpertTraining

EPISODES = 20
TRAJECTORIES = 4
LIMIT_EVERY = 25  # batched steps between two measurements of the limit

# The experts' recipes take 20,000 steps a batch; so few steps as are compared here want more and smaller ones.
TRPO: dict[str, Any] = {"num_envs": 32, "steps": 64}

PEERS: dict[str, dict[str, str]] = {
    "trpo": {"sb3-contrib TRPO": "trpo"},
    "gail-trpo": {"imitation GAIL, PPO": "gail-ppo", "imitation GAIL, sb3-contrib TRPO": "gail-trpo"},
}
"""{method: {who: what `peers.py` calls it}}."""

Report = Callable[[int], None]  # environment steps so far


class Job(NamedTuple):
    """One training: whose, of what, and how to do it, given steps, seed and a report."""

    task: str
    method: str
    who: str
    seed: int
    train: Callable[[int, int, Report], dict[str, Any]]


class Parts:
    """CPU seconds by part: time in a watched method is its own, except what it spends in other watched methods."""

    def __init__(self) -> None:
        """Begin with none."""
        self.seconds: dict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def watch(self, owner: Any, method: str, part: str) -> None:
        """Time a method of an object from now on."""
        function = getattr(owner, method)

        def timed(*arguments: Any, **keywords: Any) -> Any:
            self._inner.append(0.0)
            start = time.process_time()
            try:
                return function(*arguments, **keywords)
            finally:
                spent = time.process_time() - start
                self.seconds[part] += spent - self._inner.pop()
                self._inner[-1] += spent

        setattr(owner, method, timed)


class Shadow:
    """Measures the limit now and then on what the environment is about to do."""

    def __init__(self, env: Any):
        """Stand before the environment's physics."""
        self.limit, self.advance = Limit(env), env._advance
        self.calls = self.steps = 0
        self.seconds = 0.0
        env._advance = self

    def __call__(self, rows: Rows) -> None:
        """Measure if it is time, then advance."""
        self.calls += 1
        if self.calls % LIMIT_EVERY == 1:
            self.measure([(state.copy(), derived.copy()) for state, derived in rows])
        self.advance(rows)

    def measure(self, rows: Rows) -> None:
        """Time the second of two steps: the first brings the simulators' memory into the caches."""
        self.limit.advance(rows)
        self.seconds += self.limit.advance(rows)
        self.steps += len(rows)


def learner(task: Task, method: str, seed: int) -> tuple[Any, Any, Any]:
    """Return what trains (`iterate`, `env_steps`, `policy`), its collector and its TRPO."""
    if method == "trpo":
        training = ExpertTraining(ExpertConfig.build(RECIPES[task.name], TRPO), task, seed)
        return training, training.collector, training.trpo
    cls, config = resolve("gail-trpo", task.name)
    demonstrations = load_demonstrations(task, TRAJECTORIES, seed)
    gail = cls(config, task, demonstrations, make_env(task, config.num_envs), Streams(seed))
    return gail, gail.collector, gail.generator


def train(task: Task, method: str, steps: int, seed: int, report: Report) -> dict[str, Any]:
    """Train ours and return what came of it."""
    training, collector, trpo = learner(task, method, seed)
    shadow, parts = Shadow(collector.env), Parts()
    for owner, name, part in (
        (shadow, "advance", "simulators"),
        (shadow, "measure", "limit"),
        (collector.env, "step", "environment's rest"),
        (collector, "collect", "policy and batch"),
        (trpo.baseline, "advantages", "value network"),
        (trpo.baseline, "fit", "value network"),
        (trpo, "step", "TRPO step"),
        (training, "iterate", "rest"),
    ):
        parts.watch(owner, name, part)
    if method != "trpo":
        parts.watch(training, "_train_discriminator", "discriminator")
        parts.watch(training, "_rewards", "discriminator")
    while training.env_steps < steps:
        training.iterate()
        report(training.env_steps)
    del parts.seconds["limit"]
    returns = evaluate(training.policy.act, task, evaluation_seeds()).returns
    return {
        "env_steps": training.env_steps,
        "cpu_s": sum(parts.seconds.values()),
        "limit": shadow.steps / shadow.seconds,
        "parts": parts.seconds,
        "returns": returns.tolist(),
    }


def train_peer(python: Path, task: Task, method: str, steps: int, seed: int, report: Report) -> dict[str, Any]:
    """Train a peer in its own environment and return what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = [task.env_id, steps, seed, FINAL_EVALUATION_SEED, EPISODES]
        if method != "trpo":
            path = Path(folder) / "demonstrations.npz"
            save_trajectories(path, task, seed)
            arguments.append(path)
        command = list(map(str, [python, Path(__file__).with_name("peers.py"), method, *arguments]))
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            result: dict[str, Any] = {}
            for line in process.stdout:
                if line.startswith("{"):
                    result = json.loads(line)
                    report(result["env_steps"])
    if process.returncode or "returns" not in result:
        raise UserError(f"the peer failed: {' '.join(command)}")
    return result


def save_trajectories(path: Path, task: Task, seed: int) -> None:
    """Write the demonstrated trajectories for a peer, whole; ours sees every 20th pair of them."""
    arrays: dict[str, Any] = {}
    for i, trajectory in enumerate(load_demonstrations(task, TRAJECTORIES, seed).trajectories):
        for name in ("observations", "actions", "terminated"):
            arrays[f"{name}{i}"] = getattr(trajectory, name)
    np.savez(path, **arrays)


def evaluation_seeds() -> range:
    """Return the seeds of the starts from which everybody is scored."""
    return range(FINAL_EVALUATION_SEED, FINAL_EVALUATION_SEED + EPISODES)


def rate(runs: Sequence[Mapping[str, Any]]) -> float:
    """Return environment steps per CPU second over all runs."""
    return sum(run["env_steps"] for run in runs) / sum(run["cpu_s"] for run in runs)


def score(runs: Sequence[Mapping[str, Any]]) -> str:
    """Return the mean return over all runs, and the runs' own means where there are several."""
    means = [fmean(run["returns"]) for run in runs]
    return f"{fmean(means):,.0f}" + (f" ({', '.join(f'{mean:,.0f}' for mean in means)})" if len(means) > 1 else "")


def rows_of(task: str, method: str, results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, str]]:
    """Return the rows of the main table for {who: runs}, ours first."""
    ours = results["ours"]
    limit = fmean(run["limit"] for run in ours)
    rows = []
    for who, runs in results.items():
        row = {"task": task, "method": method, "who": who, "steps": f"{fmean(run['env_steps'] for run in runs):,.0f}"}
        row |= {"steps / s": f"{rate(runs):,.0f}", "of the limit": f"{rate(runs) / limit:.2f}"}
        row |= {"ours is faster by": "–" if runs is ours else f"{rate(ours) / rate(runs):.1f}", "return": score(runs)}
        rows.append(row)
    return rows


def parts_of(task: str, method: str, runs: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the row of the table of parts."""
    total = sum(run["cpu_s"] for run in runs)
    shares = {part: sum(run["parts"][part] for run in runs) / total for part in runs[0]["parts"]}
    return {"task": task, "method": method} | {part: f"{share:.1%}" for part, share in shares.items()}


def measure(jobs: Sequence[Job], steps: int) -> dict[tuple[str, str], dict[str, list[dict[str, Any]]]]:
    """Do the trainings one after the other; return {(task, method): {who: runs}}."""
    results: dict[tuple[str, str], dict[str, list[dict[str, Any]]]] = {}
    with Display([1.0 if job.who == "ours" else 8.0 for job in jobs], 1) as display:
        for number, job in enumerate(jobs):
            title = f"{job.task} {job.method}, {job.who}, seed {job.seed}"

            def report(env_steps: int, number: int = number) -> None:
                display.update(0, number, min(env_steps / steps, 1.0), f"{env_steps:,} steps")

            display.start(0, title)
            result = job.train(steps, job.seed, report)
            results.setdefault((job.task, job.method), {}).setdefault(job.who, []).append(result)
            display.end(0, number, title)
            display.say(f"{title}: {rate([result]):,.0f} steps per second, return {score([result])}")
    return results


def main() -> None:
    """Train everybody and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default="hopper,halfcheetah", help="comma-separated (default: hopper,halfcheetah)")
    parser.add_argument("--methods", default=",".join(PEERS), help=f"comma-separated (default: {','.join(PEERS)})")
    parser.add_argument("--steps", default="1000000", help="environment steps of a training (default: 1000000)")
    parser.add_argument("--seeds", default="1", help="trainings of everybody: 3 means seeds 0 to 2 (default: 1)")
    parser.add_argument("--peers", type=Path, metavar="PYTHON", help="the peers' Python; without it, ours alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peers and not os.access(options.peers, os.X_OK):
        raise UserError(f"{options.peers} is no Python that can be run; --help says how to make the peers' own")
    jobs = []
    for task in map(get_task, names(options.tasks)):
        for method in names(options.methods):
            if method not in PEERS:
                raise unknown("method", method, tuple(PEERS))
            for seed in seeds(options.seeds):
                jobs.append(Job(task.name, method, "ours", seed, partial(train, task, method)))
                for who, name in PEERS[method].items() if options.peers else ():
                    jobs.append(Job(task.name, method, who, seed, partial(train_peer, options.peers, task, name)))
    results = measure(jobs, positive(options.steps))
    groups = [(*key, group) for key, group in results.items()]
    versions = [run["versions"] for *_, group in groups for runs in group.values() for run in runs if "versions" in run]
    peers = "; peers: " + ", ".join(map(" ".join, versions[0].items())) if versions else ""
    print("Environment steps per CPU second on one core, updates included; mean returns of", EPISODES, "episodes.\n")
    print(origin() + peers, markdown([row for group in groups for row in rows_of(*group)]), sep="\n\n")
    parts = [parts_of(task, method, group["ours"]) for task, method, group in groups]
    print("\nWhere the time of ours goes:", markdown(parts), sep="\n\n")


if __name__ == "__main__":
    command_line(main)
