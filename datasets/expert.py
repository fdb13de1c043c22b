"""Experts: TRPO on the true reward. The only place where a task's reward is used for learning."""

import csv
import hashlib
import io
import math
import shlex
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from algorithms.baseline import Baseline
from algorithms.normalize import RunningNormalizer
from algorithms.rollout import Collector
from algorithms.trpo import TRPO, TRPOConfig
from bench.algorithm import Metrics
from bench.checkpoint import read_checkpoint, write_checkpoint
from bench.envs import make_env
from bench.errors import UserError
from bench.evaluate import evaluate
from bench.files import read_json, write_bytes, write_json
from bench.policy import Policy, read_policy, save_policy
from bench.provenance import provenance
from bench.seeding import Streams
from bench.tasks import Task, get_task
from datasets.manifest import EXPERTS, read_manifest

# The episodes that choose a snapshot are not those that are reported.
SELECTION_SEED = 4_000_000
REPORT_SEED = 5_000_000


class ExpertConfig(TRPOConfig):
    """Settings of an expert's training."""

    steps: int = Field(100, gt=0, description="steps of every environment in a batch [ours]")
    hidden: tuple[PositiveInt, ...] = Field((64, 64), description="hidden tanh layers of the policy [ours]")
    initial_log_std: float = Field(-0.5, description="log standard deviation of the first policy's actions [ours]")
    evaluate_every: int = Field(10, gt=0, description="iterations between snapshots [ours]")
    selection_episodes: int = Field(50, gt=0, description="episodes that judge a snapshot [ours]")


LONG: dict[str, Any] = {"num_envs": 32, "steps": 625, "max_kl": 0.02, "evaluate_every": 20, "selection_episodes": 32}
RECIPES: dict[str, dict[str, Any]] = {
    "cartpole": {"iterations": 40, "num_envs": 50, "steps": 100, "gamma": 0.99},
    "mountaincar": {"iterations": 300, "num_envs": 50, "steps": 200, "gamma": 0.99},
    "acrobot": {"iterations": 150, "num_envs": 50, "steps": 100, "gamma": 0.99},
    "hopper": {"iterations": 260, "num_envs": 32, "steps": 625, "gamma": 0.995, "max_kl": 0.02},
    "walker2d": {"iterations": 1000, "gamma": 0.995} | LONG,
    "halfcheetah": {"iterations": 420, "gamma": 0.99} | LONG,
    "ant": {"iterations": 520, "gamma": 0.99, "initial_log_std": -1.0, "hidden": (100, 100)} | LONG,
    # Its actions reach to 0.4 only: with a deviation of 0.6 nearly all of them would lie on a bound.
    "humanoid": LONG
    | {"iterations": 6000, "gamma": 0.99, "hidden": (100, 100), "initial_log_std": -1.6, "num_envs": 64, "steps": 256},
}


class ExpertTraining:
    """TRPO on the true reward, one batch an iteration; its state is all that an exact resume needs."""

    def __init__(self, config: ExpertConfig, task: Task, seed: int):
        self.config, self.task, self.seed = config, task, seed
        streams = Streams(seed)
        self.env = make_env(task, config.num_envs)
        init = streams.torch("init")
        self.policy = Policy.for_env(self.env, hidden=config.hidden, activation="tanh", generator=init)
        with torch.no_grad():
            list(self.policy.network.parameters())[-2].mul_(0.01)  # first actions around zero, or uniform
            if not self.policy.discrete:
                self.policy.log_std.fill_(config.initial_log_std)
        size = self.env.single_observation_space.shape[0]
        baseline = Baseline(config, size, init, streams.torch("batches"))
        self.trpo = TRPO(self.policy, baseline, config, streams.torch("fisher"))
        self.normalizer = RunningNormalizer(size)
        self.collector = Collector(self.env, self.policy, streams.integer("environment"), streams.torch("actions"))
        self.iteration = 0
        self.env_steps = 0
        self.wall_s = 0.0
        self.best = -math.inf
        self.best_policy: dict[str, Any] = {}
        self.curve: list[Metrics] = []

    def iterate(self) -> Metrics:
        """Collect a batch and improve on it."""
        if self.iteration == 0:  # the first batch only tells the scale of the observations
            self._see(self._collect())
        rollout = self._collect()
        metrics = self.trpo.update(rollout, rollout.rewards)
        self._see(rollout)
        self.iteration += 1
        return metrics

    def _collect(self) -> Any:
        rollout = self.collector.collect(self.config.steps)
        self.env_steps += rollout.steps
        return rollout

    def _see(self, rollout: Any) -> None:
        self.normalizer.update(rollout.observations)
        self.normalizer.write(self.policy)

    def judge(self, metrics: Metrics) -> None:
        """Evaluate the policy as it acts (stochastically) and keep it if it is the best so far."""
        seeds = range(SELECTION_SEED, SELECTION_SEED + self.config.selection_episodes)
        returns = evaluate(sampler(self.policy, self.seed), self.task, seeds).returns
        row = {"iteration": self.iteration, "env_steps": self.env_steps, "wall_s": round(self.wall_s, 1)}
        self.curve.append(row | {"return": float(returns.mean()), "std": float(returns.std())} | metrics)
        # Ties (CartPole's limit, say) go to the later snapshot: it has seen more.
        if returns.mean() >= self.best:
            self.best = float(returns.mean())
            self.best_policy = {name: value.clone() for name, value in self.policy.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return networks, optimiser, simulators, generators, the best snapshot and the curve."""
        counters = ("iteration", "env_steps", "wall_s", "best", "best_policy", "curve")
        parts = {name: getattr(self, name).state_dict() for name in ("policy", "trpo", "normalizer", "collector")}
        return parts | {name: getattr(self, name) for name in counters}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        for name, value in state.items():
            part = getattr(self, name)
            if hasattr(part, "load_state_dict"):
                part.load_state_dict(value)
            else:
                setattr(self, name, value)


def sampler(policy: Policy, seed: int) -> Callable[[NDArray], NDArray]:
    """Return the policy as it acts, with its own stream of noise: [N, S] -> actions."""
    generator = Streams(seed).torch("evaluation actions")
    return lambda observations: policy.sample(observations, generator)


def train_expert(
    task: Task | str,
    out: Path | str,
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    report: Callable[[ExpertTraining], None] | None = None,
) -> Path:
    """Train an expert; a training that was cut short goes on from its checkpoint to the same result.

    Args:
        task: the task or its name.
        out: folder of trainings; this one writes to ``<out>/<task>/``: ``checkpoint.pt``, ``curve.csv`` and, when
            finished, ``expert.pt`` and ``training.json``.
        seed: of initialisation, environments and noise.
        overrides: settings over the task's recipe; with more `iterations`, a finished training goes on.
        report: called after every judged snapshot (for a progress display).

    Returns:
        The folder, for `evaluate_expert`.

    Raises:
        UserError: an unknown task or setting, a task without a recipe, or a folder of a training with other settings.
    """
    task = get_task(task) if isinstance(task, str) else task
    if task.name not in RECIPES:
        raise UserError(f"no recipe for an expert on {task.name}; there are recipes for {', '.join(RECIPES)}")
    config = ExpertConfig.build(RECIPES[task.name], overrides or {})
    folder = Path(out) / task.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder}: {error.strerror}") from None
    header = {"task": task.name, "seed": seed, "settings": config.model_dump(mode="json", exclude={"iterations"})}
    checkpoint = folder / "checkpoint.pt"  # stays: more `iterations` lengthen a finished training

    training = ExpertTraining(config, task, seed)
    if checkpoint.exists():
        content = read_checkpoint(checkpoint)
        if content["header"] != header:
            raise UserError(f"{folder} holds a training with another seed or other settings; choose another folder")
        training.load_state_dict(content["state"])
    while training.iteration < config.iterations:
        started = time.perf_counter()
        metrics = training.iterate()
        training.wall_s += time.perf_counter() - started
        if training.iteration % config.evaluate_every == 0 or training.iteration == config.iterations:
            training.judge(metrics)
            write_checkpoint(checkpoint, {"header": header, "state": training.state_dict()})
            write_bytes(folder / "curve.csv", _table(training.curve))
            if report:
                report(training)
    training.policy.load_state_dict(training.best_policy)
    save_policy(training.policy, folder / "expert.pt")
    origin = provenance()
    done = header | {
        "settings": config.model_dump(mode="json") | {"iterations": training.iteration},
        "command": shlex.join(
            ["bench", "expert", "train", "--task", task.name, "--seed", str(seed)]
            + [word for name, value in (overrides or {}).items() for word in ("--set", f"{name}={value}")]
        ),
        **{name: origin[name] for name in ("commit", "versions")},
        "env_steps": training.env_steps,
        "wall_s": round(training.wall_s, 1),
        "selection_return": training.best,
    }
    write_json(folder / "training.json", done)
    return folder


def evaluate_expert(
    task: Task | str, training: Path | str | None = None, episodes: int = 100, experts: Path = EXPERTS
) -> dict[str, Any]:
    """Measure an expert's returns over `episodes` episodes: as it acts, deterministically, and of random actions.

    Args:
        task: the task or its name.
        training: a folder that `train_expert` returned: its expert is measured, copied to `experts` and entered
            in the manifest. None measures the shipped expert again and writes nothing.
        episodes: number of episodes, none of which chose the snapshot.
        experts: where experts and their manifest lie.

    Returns:
        The expert's record, as in the manifest.
    """
    task = get_task(task) if isinstance(task, str) else task
    if training is None:
        policy = load_expert(task, experts)
        return read_manifest(experts)["experts"][task.name] | measure(policy, task, episodes)

    folder = Path(training)
    if not (folder / "training.json").exists():
        raise UserError(f"{folder} holds no finished training (`bench expert train` makes one)")
    record = read_json(folder / "training.json")
    del record["schema"]  # the manifest has its own
    if record.get("task") != task.name:
        raise UserError(f"{folder} is a training on {record.get('task')}, not on {task.name}")
    record |= measure(read_policy(folder / "expert.pt"), task, episodes)
    record["digest"] = _digest(folder / "expert.pt")
    experts.mkdir(parents=True, exist_ok=True)
    for source, name in (("expert.pt", f"{task.name}.pt"), ("curve.csv", f"{task.name}-curve.csv")):
        write_bytes(experts / name, (folder / source).read_bytes())
    manifest = read_manifest(experts)
    manifest["experts"][task.name] = record
    write_json(experts / "manifest.json", manifest)
    return record


def measure(policy: Policy, task: Task, episodes: int = 100) -> dict[str, dict[str, Any]]:
    """Return ``stochastic``, ``deterministic`` and ``random`` returns: each mean, std (ddof 0) and the episodes'."""
    env = make_env(task, 1)
    space = env.single_action_space
    generator = Streams(REPORT_SEED).numpy("random actions")

    def random(observations: NDArray) -> NDArray:
        if policy.discrete:
            return generator.integers(space.n, size=len(observations))
        return generator.uniform(space.low, space.high, (len(observations), *space.shape)).astype(np.float32)

    seeds = range(REPORT_SEED, REPORT_SEED + episodes)
    record = {}
    for name, act in (("stochastic", sampler(policy, REPORT_SEED)), ("deterministic", policy.act), ("random", random)):
        returns = evaluate(act, task, seeds).returns
        record[name] = {"mean": float(returns.mean()), "std": float(returns.std()), "returns": returns.tolist()}
    return record


def load_expert(task: Task | str, experts: Path = EXPERTS) -> Policy:
    """Return the shipped expert; a `UserError` says if there is none or if its file is not the recorded one."""
    task = get_task(task) if isinstance(task, str) else task
    record = read_manifest(experts)["experts"].get(task.name)
    path = experts / f"{task.name}.pt"
    if record is None or not path.exists():
        raise UserError(f"there is no expert for {task.name} yet: train one with `bench expert train`")
    if _digest(path) != record["digest"]:
        raise UserError(f"{path} is not the expert that the manifest records (its sha256 differs)")
    return read_policy(path)


def list_experts(experts: Path = EXPERTS) -> list[dict[str, Any]]:
    """Return one row per shipped expert: task, mean returns, environment steps, wall time and digest."""
    return [
        {
            "task": task,
            **{name: record[name]["mean"] for name in ("stochastic", "deterministic", "random")},
            **{name: record[name] for name in ("env_steps", "wall_s", "seed", "digest")},
        }
        for task, record in read_manifest(experts)["experts"].items()
    ]


def _table(rows: list[Metrics]) -> bytes:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
