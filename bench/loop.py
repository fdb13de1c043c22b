"""The loop that every method runs in: iterate, evaluate, checkpoint, record."""

import os
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from bench.checkpoint import (
    global_generators,
    read_checkpoint,
    restore_global_generators,
    seed_global_generators,
    write_checkpoint,
)
from bench.config import Protocol, RunConfig
from bench.envs import make_env
from bench.errors import UserError
from bench.evaluate import evaluate
from bench.files import read_json
from bench.policy import save_policy
from bench.provenance import provenance
from bench.record import RunRecord, check_same, normalise
from bench.seeding import CURVE_EVALUATION_SEED, Streams, final_evaluation_seed
from bench.tasks import get_task
from bench.tracking import Tracker


def _checkpoint_s() -> float:
    text = os.environ.get("MGAIL_BENCH_CHECKPOINT_S", "60")
    try:
        if (value := float(text)) >= 0:
            return value
    except ValueError:
        pass
    raise UserError(f"MGAIL_BENCH_CHECKPOINT_S should be seconds from 0 up, not {text!r}")


CHECKPOINT_S = _checkpoint_s()  # between checkpoints: what a kill costs at most
PROGRESS_ROWS = 500  # about so many rows of progress.csv a run, however many iterations it has


@dataclass(frozen=True)
class Progress:
    """How far a run has come, for whoever watches.

    Attributes:
        iteration: iterations done.
        iterations: iterations in all.
        env_steps: environment interactions so far.
        mean_return: mean return of the latest evaluation, or None before the first.
    """

    iteration: int
    iterations: int
    env_steps: int
    mean_return: float | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: finished now, finished before (skipped), or stopped with a checkpoint to go on from."""

    status: Literal["finished", "skipped", "stopped"]
    result: Mapping[str, Any] | None = None
    remarks: tuple[str, ...] = ()


def settle() -> None:
    """Give this process one thread: parallelism is over runs, and one thread adds up in one order."""
    torch.set_num_threads(1)
    threadpool_limits(1)  # NumPy's


def resolve(config: RunConfig) -> tuple[Any, Any]:
    """Return the method's class and its settings, which must exist and fit: a `UserError` says what does not."""
    from algorithms import resolve as resolve_algorithm

    return resolve_algorithm(config.algorithm, config.task, config.preset, config.variant, config.settings)


def identity(config: RunConfig, settings: Any) -> dict[str, Any]:
    """Return what makes this run this run, the demonstrations apart (see `bench.record.IDENTITY`)."""
    source = config.algorithm.rpartition(":")[0]
    return {
        "algorithm": config.method,
        "source": sha256(Path(source).read_bytes()).hexdigest() if source.endswith(".py") else source or None,
        "task": config.task,
        "trajectories": config.trajectories,
        "seed": config.seed,
        "label": config.tag,
        "settings": settings.model_dump(mode="json"),
        "protocol": asdict(config.protocol),
    }


def schedule(iterations: int, protocol: Protocol) -> set[int]:
    """Return after which iterations the curve is evaluated; the final evaluation is not among them."""
    return {round(i * iterations / protocol.points) for i in range(protocol.points)} - {iterations}


def run(
    config: RunConfig,
    out: Path,
    report: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
    tracking: str = "disabled",
) -> Outcome:
    """Do one run, or what is left of it, and record it below `out`.

    Args:
        config: what to run.
        out: folder of all runs.
        report: called after every iteration and evaluation.
        stop: asked after every iteration; on True the run is checkpointed and left.
        tracking: mirror to Weights & Biases: disabled, offline or online.

    Raises:
        UserError: something the user can put right. A crash after the run was begun also writes error.txt.
    """
    from datasets.demonstrations import load_demonstrations, references

    settle()
    task = get_task(config.task)
    directory = config.directory(out)
    cls, settings = resolve(config)
    asked = identity(config, settings)
    demonstrations = load_demonstrations(task, config.trajectories, config.seed, dataset_id=config.demonstrations)
    asked["demonstrations"] = {
        "id": config.demonstrations,
        "digest": demonstrations.digest,
        "offsets": {str(key): int(value) for key, value in demonstrations.offsets.items()},
        "pairs": len(demonstrations),
    }
    asked |= {"spec": config.algorithm, "preset": config.preset, "variant": config.variant}  # told, not compared
    check_same(directory, asked)
    if (directory / "result.json").exists():
        return Outcome("skipped", read_json(directory / "result.json"))

    asked["references"] = references(task, dataset_id=config.demonstrations)
    asked["iterations"] = settings.iterations
    with RunRecord(directory, asked | provenance()) as record:
        if record.finished:  # by another process, meanwhile
            return Outcome("skipped", read_json(directory / "result.json"))
        tracker = Tracker(tracking, directory)
        try:
            seed_global_generators(config.seed)
            env = make_env(task, settings.num_envs)
            algorithm = cls(settings, task, demonstrations, env, Streams(config.seed))
            result = _Session(config, settings, algorithm, record, report, stop, tracker).work(asked["references"])
        except BaseException as error:
            if isinstance(error, Exception):
                record.fail(str(error) + "\n" if isinstance(error, UserError) else traceback.format_exc())
            raise
        finally:
            tracker.finish()
        return Outcome("finished" if result else "stopped", result, (*record.remarks, *tracker.remarks))


class _Session:
    """One sitting at a run: from its start or its checkpoint to its end or a stop."""

    def __init__(
        self,
        config: RunConfig,
        settings: Any,
        algorithm: Any,
        record: RunRecord,
        report: Callable[[Progress], None],
        stop: Callable[[], bool],
        tracker: Tracker,
    ):
        self.task = get_task(config.task)
        self.final_seed = final_evaluation_seed(config.seed)
        self.protocol = config.protocol
        self.iterations: int = settings.iterations
        self.algorithm = algorithm
        self.record = record
        self.report = report
        self.stop = stop
        self.tracker = tracker
        self.iteration = 0
        self.mean_return: float | None = None
        self._wall = -time.monotonic()
        self._core = -time.process_time()
        self._evaluation_core = 0.0

    @property
    def wall_s(self) -> float:
        """Seconds spent on the run so far, earlier sittings up to their last checkpoint included."""
        return self._wall + time.monotonic()

    @property
    def core_s(self) -> float:
        """Seconds of one core spent on the run so far, evaluations included."""
        return self._core + time.process_time()

    def work(self, references: Mapping[str, float | None]) -> dict[str, Any] | None:
        """Do the run and return its result, or None if it was stopped."""
        if self.record.checkpoint.exists():
            self._restore()
        else:
            self.record.cut({})
        self.tracker.start()
        evaluate_at = schedule(self.iterations, self.protocol)
        every = -(-self.iterations // PROGRESS_ROWS)
        checkpointed = time.monotonic()
        while self.iteration < self.iterations:
            if self.iteration in evaluate_at:
                self._evaluate(CURVE_EVALUATION_SEED, self.protocol.curve)
            metrics = self.algorithm.iterate()
            self.iteration += 1
            if self.iteration % every == 0 or self.iteration == self.iterations:
                self._log(metrics)
            self._show()
            if self.stop():
                self._checkpoint()
                return None
            if time.monotonic() - checkpointed > CHECKPOINT_S:
                self._checkpoint()
                checkpointed = time.monotonic()
        returns = self._evaluate(self.final_seed, self.protocol.final)
        save_policy(self.algorithm.policy, self.record.directory / "policy.pt")
        mean, rand = float(np.mean(returns)), references.get("random")
        result = {
            "mean": mean,
            "std": float(np.std(returns)),
            "n_episodes": len(returns),
            "normalised": normalise(mean, references.get("expert"), rand),
            "normalised_deterministic": normalise(mean, references.get("expert_deterministic"), rand),
            "references": dict(references),
            "iterations": self.iterations,
            "env_steps": int(self.algorithm.env_steps),
            "wall_s": round(self.wall_s, 3),
            "core_s": round(self.core_s, 3),
            "evaluation_core_s": round(self._evaluation_core, 3),
        }
        self.record.finish(result)
        return result

    def _show(self) -> None:
        self.report(Progress(self.iteration, self.iterations, int(self.algorithm.env_steps), self.mean_return))

    def _log(self, metrics: Mapping[str, float]) -> None:
        row = {
            "iteration": self.iteration,
            "env_steps": int(self.algorithm.env_steps),
            "wall_s": round(self.wall_s, 3),
            **{key: float(value) for key, value in metrics.items()},
        }
        self.record.progress.append([row])
        self.tracker.follow()

    def _evaluate(self, first_seed: int, episodes: int) -> np.ndarray:
        """Evaluate the declared policy deterministically, record every episode, and return the returns."""
        for name, weights in self.algorithm.policy.named_parameters():
            if not torch.isfinite(weights).all():
                raise FloatingPointError(f"after iteration {self.iteration} the policy's {name} is not finite")
        begun = time.process_time()
        outcome = evaluate(self.algorithm.act, self.task, range(first_seed, first_seed + episodes))
        self._evaluation_core += time.process_time() - begun
        env_steps = int(self.algorithm.env_steps)
        self.record.evaluations.append(
            {
                "iteration": self.iteration,
                "env_steps": env_steps,
                "episode": episode,
                "eval_seed": first_seed + episode,
                "return": float(outcome.returns[episode]),
                "length": int(outcome.lengths[episode]),
                "terminated": bool(outcome.terminated[episode]),
            }
            for episode in range(episodes)
        )
        self.mean_return = float(np.mean(outcome.returns))
        self.tracker.follow()
        self._show()
        return np.asarray(outcome.returns)

    def _checkpoint(self) -> None:
        write_checkpoint(
            self.record.checkpoint,
            {
                "iteration": self.iteration,
                "mean_return": self.mean_return,
                "wall_s": self.wall_s,
                "core_s": self.core_s,
                "evaluation_core_s": self._evaluation_core,
                "positions": self.record.positions(),
                "algorithm": self.algorithm.state_dict(),
                "global": global_generators(),
            },
        )

    def _restore(self) -> None:
        state = read_checkpoint(self.record.checkpoint)
        self.record.cut(state["positions"])
        self.algorithm.load_state_dict(state["algorithm"])
        self.iteration = state["iteration"]
        self.mean_return = state["mean_return"]
        self._wall += state["wall_s"]
        self._core += state["core_s"]
        self._evaluation_core = state["evaluation_core_s"]
        restore_global_generators(state["global"])
