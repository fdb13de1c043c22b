"""Demonstrations: made from an expert (or a user's policy), stored as Minari datasets, handed to the algorithms.

Which pairs a run gets is fixed by its seed alone (`load_demonstrations`), so that "same cell, same seed" is a pair for
every two methods.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from bench.errors import UserError
from bench.seeding import Streams
from bench.tasks import Task, get_task
from bench.trajectory import Demonstrations, Trajectory
from datasets import store as stores
from datasets.export import export_demonstrations
from datasets.make import (
    MOST,
    References,
    Summary,
    default_id,
    gymnasiums,
    make_demonstrations,
    manifest_entry,
    summary,
)
from datasets.store import Dataset

__all__ = [
    "References",
    "Summary",
    "default_id",
    "export_demonstrations",
    "list_demonstrations",
    "load_demonstrations",
    "make_demonstrations",
    "references",
    "verify_demonstrations",
]


def _open(task: Task, store: Path | None, dataset_id: str | None, show: bool = False) -> Dataset:
    """Open a task's dataset; the default one is made if it does not exist, with its progress if `show`."""
    root = store or stores.default_store()
    default = default_id(task)
    if dataset_id is None and not (root / default / "data" / "metadata.json").exists():
        make_demonstrations(task, store=root, show=show)
    dataset = stores.open_path(default, root / default) if dataset_id is None else stores.open_dataset(dataset_id, root)
    _check_fits(task, dataset)
    if dataset_id is None and dataset.section is not None:
        entry = manifest_entry(task)
        if entry is not None and dataset.section["policy_digest"] != entry["digest"]:
            raise UserError(
                f"dataset {default} in {root} was made by another expert than the shipped one; remove it to have it "
                f"made again, or name it to use it as it is (--demonstrations {default})"
            )
    return dataset


@cache
def _spaces(name: str) -> tuple[spaces.Space, spaces.Space]:
    return gymnasiums(get_task(name))[1:]


def _check_fits(task: Task, dataset: Dataset) -> None:
    def words(space: spaces.Space) -> str:
        return f"{space.n} actions" if isinstance(space, spaces.Discrete) else f"shape {space.shape}"

    observation_space, action_space = _spaces(task.name)
    for kind, ours, theirs in (
        ("observations", observation_space, dataset.observation_space),
        ("actions", action_space, dataset.action_space),
    ):
        same_type = type(ours) is type(theirs)
        if isinstance(ours, spaces.Discrete) and isinstance(theirs, spaces.Discrete):
            fits = (ours.n, ours.start) == (theirs.n, theirs.start)
        else:
            fits = same_type and ours.shape == theirs.shape
        if not fits:
            raise UserError(
                f"dataset {dataset.id} does not fit task {task.name}: "
                f"its {kind} have {words(theirs)}, the task's have {words(ours)}"
            )


def load_demonstrations(
    task: Task,
    trajectories: int,
    seed: int,
    store: Path | None = None,
    dataset_id: str | None = None,
    subsample: int | None = None,
    show: bool = False,
) -> Demonstrations:
    """Return what a run with this seed is handed; only the trajectories it uses are read, and each is checked.

    The trajectories are the first n of the seed's own permutation of the stored ones (see `permutation`), hence nested
    in n. Of each, every k-th pair is kept from a random offset that belongs to the seed and the trajectory.

    Args:
        task: the task.
        trajectories: n.
        seed: the run's seed.
        store: root folder (default: `datasets.store.default_store()`).
        dataset_id: any local Minari dataset whose spaces fit the task; default: the expert's, made if need be.
        subsample: k (default: `task.subsample`; 1 keeps every pair).
        show: whether to show progress where the dataset is made first; a worker's terminal is not its own.

    Raises:
        UserError: no such dataset, one that does not fit or is damaged, or fewer trajectories than asked for.
    """
    dataset = _open(task, store, dataset_id, show)
    if not 1 <= trajectories <= dataset.episodes:
        more = f"; more with: bench dataset make --task {task.name} --trajectories {trajectories}"
        if trajectories > MOST:
            more = f"; at most {MOST} can be made"
        hint = more if dataset.episodes < trajectories and dataset.section is not None else ""
        raise UserError(
            f"dataset {dataset.id} holds {dataset.episodes} trajectories, {trajectories} were asked for{hint}"
        )
    # Those that every store of the task holds come first: extending a store does not change what runs were handed.
    base = dataset.episodes if dataset.section is None else min(task.stored, dataset.episodes)
    chosen = permutation(base, dataset.episodes, seed)[:trajectories]
    whole = tuple(clipped(trajectory, dataset) for trajectory in dataset.read(chosen))
    step_size = subsample or task.subsample
    where = Streams(seed).numpy("subsampling").random(dataset.episodes)
    # A trajectory shorter than k still gives a pair.
    offsets = {
        index: int(where[index] * min(step_size, len(trajectory)))
        for index, trajectory in zip(chosen, whole, strict=True)
    }
    steps = [
        np.arange(offsets[index], len(trajectory), step_size) for index, trajectory in zip(chosen, whole, strict=True)
    ]
    return Demonstrations(
        observations=np.concatenate([t.observations[:-1][kept] for t, kept in zip(whole, steps, strict=True)]),
        actions=np.concatenate([t.actions[kept] for t, kept in zip(whole, steps, strict=True)]),
        trajectory=np.concatenate([np.full(len(kept), index) for index, kept in zip(chosen, steps, strict=True)]),
        step=np.concatenate(steps),
        offsets=offsets,
        trajectories=whole,
        digest=dataset.digest(base if trajectories <= base else None),
    )


def clipped(trajectory: Trajectory, dataset: Dataset) -> Trajectory:
    """Return the trajectory with actions as executed: within the bounds of the action space."""
    space = dataset.action_space
    if not isinstance(space, spaces.Box) or dataset.section is not None:
        return trajectory
    actions = np.clip(trajectory.actions, space.low, space.high)
    return Trajectory(
        trajectory.observations,
        actions,
        trajectory.rewards,
        trajectory.terminated,
        trajectory.truncated,
        trajectory.seed,
    )


def permutation(base: int, stored: int, seed: int) -> list[int]:
    """Return the seed's own order of the stored trajectories; seed 0 keeps them as stored.

    The first `base` ones are permuted among themselves, and so are the rest behind them.
    """
    if seed == 0:
        return list(range(stored))
    rng = Streams(seed).numpy("demonstrations")
    return [*map(int, rng.permutation(base)), *map(int, base + rng.permutation(stored - base))]


def references(task: Task, store: Path | None = None, dataset_id: str | None = None) -> References:
    """Return the returns that scores are normalised by: {expert, expert_deterministic, random}.

    Of the expert's dataset: what the expert's manifest said when it was made, over 100 episodes each (stochastic,
    deterministic, random actions). Of any other dataset: its mean episode return for both experts.
    """
    dataset = _open(task, store, dataset_id)
    if dataset.section is not None:
        if dataset.section["references"] is not None:
            return dict(dataset.section["references"])
        mean = float(np.mean(dataset.section["returns"]))
    else:
        mean = _mean_return(dataset.path, dataset.digest())
    entry = manifest_entry(task)
    random = float(entry["random"]["mean"]) if entry is not None else _random_return(task.name)
    return {"expert": mean, "expert_deterministic": mean, "random": random}


@cache
def _mean_return(path: Path, digest: str) -> float:
    """Return the mean episode return of a foreign dataset; every episode is read, once in a process."""
    dataset = stores.open_path(path.name, path)
    return float(np.mean([trajectory.total_reward for trajectory in dataset.read(range(dataset.episodes))]))


@cache
def _random_return(name: str, episodes: int = 100) -> float:
    """Measure uniformly random actions, for a task whose expert is not shipped."""
    from bench.evaluate import evaluate

    task = get_task(name)
    _, space = _spaces(task.name)
    rng = Streams(0).numpy("random policy")

    def act(observations: Any) -> Any:
        if isinstance(space, spaces.Discrete):
            return rng.integers(space.n, size=len(observations))
        assert isinstance(space, spaces.Box)
        return rng.uniform(space.low, space.high, (len(observations), *space.shape)).astype(np.float32)

    first = Streams(0).integer("random policy")
    return float(np.mean(evaluate(act, task, range(first, first + episodes)).returns))


def list_demonstrations(store: Path | None = None) -> list[Summary]:
    """Return what lies in the store, by id; no episode is read."""
    root = store or stores.default_store()
    return [summary(stores.open_path(dataset_id, root / dataset_id)) for dataset_id in stores.scan(root)]


def verify_demonstrations(dataset_id: str, store: Path | None = None) -> Summary:
    """Read every episode of a dataset and check it; a `UserError` says what is wrong."""
    dataset = stores.open_dataset(dataset_id, store or stores.default_store())
    for _ in dataset.read(range(dataset.episodes)):
        pass
    return summary(dataset)
