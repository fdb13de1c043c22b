"""Making datasets: an expert or a user's policy acts, and its episodes are stored."""

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

import bench
from bench.errors import UserError
from bench.progress import Display
from bench.tasks import Task
from bench.trajectory import Trajectory
from datasets import store as stores
from datasets.manifest import read_manifest
from datasets.store import Dataset
from datasets.write import locked, write

MOST = 240  # trajectories of a task: the paper's largest dataset (Humanoid)
References = dict[str, float]


@dataclass(frozen=True)
class Summary:
    """What `bench dataset list` shows of a dataset; None where a foreign dataset does not say."""

    id: str
    path: Path
    task: str | None
    policy: str | None
    trajectories: int
    steps: int
    mean_return: float | None
    digest: str | None
    size: int


def default_id(task: Task) -> str:
    """Return the id of the expert's dataset of a task."""
    return f"mgailbench/{task.name}/expert-v0"


def make_demonstrations(
    task: Task,
    trajectories: int | None = None,
    store: Path | None = None,
    policy: str | None = None,
    dataset_id: str | None = None,
    show: bool = True,
) -> Summary:
    """Make a dataset of a task, or extend the one that is there; what it has stays as it is.

    Memory does not grow with the number of trajectories, only with `datasets.collect.BATCH`: for Humanoid's 1000 steps
    about half a gigabyte, most of it libraries.

    Args:
        task: the task.
        trajectories: how many it shall hold, 1 to 240 (default: `task.stored`).
        store: root folder (default: `datasets.store.default_store()`).
        policy: ``file.py:function`` of a user's policy, see `datasets.collect.Function`; default: the shipped expert,
            which is sampled.
        dataset_id: Minari id (default: ``mgailbench/<task>/expert-v0``, or the function's name for a user's policy).
        show: whether to show progress.

    Raises:
        UserError: a bad argument, a damaged dataset, another policy's dataset of the same id, or a full disk.
    """
    wanted = task.stored if trajectories is None else trajectories
    if not 1 <= wanted <= MOST:
        raise UserError(f"cannot make {wanted} trajectories of {task.name}; 1 to {MOST} can be made")
    root = store or stores.default_store()
    with locked(root):
        return summary(_make(task, wanted, root, policy, dataset_id, show))


def _make(task: Task, wanted: int, root: Path, policy: str | None, dataset_id: str | None, show: bool) -> Dataset:
    from datasets.collect import FIRST_SEED, collect

    actor, name, digest = _policy(task, policy)
    dataset_id = stores.check_id(dataset_id or (default_id(task) if policy is None else _policy_id(task, policy)))
    there: Dataset | None = None
    if (root / dataset_id / "data").exists():
        there = stores.open_path(dataset_id, root / dataset_id)
        section = there.section or {}
        if (section.get("task"), section.get("policy_digest")) != (task.name, digest):
            raise UserError(
                f"dataset {dataset_id} in {root} was made by another policy or on another task; "
                "remove it or give the new one another id"
            )
        if there.episodes >= wanted:
            return there
    if actor is None:
        from datasets.expert import load_expert

        actor = load_expert(task)

    have = 0 if there is None else there.episodes
    old: Iterator[Trajectory] = iter(()) if there is None else there.read(range(have))
    section = {
        "task": task.name,
        "env_id": task.env_id,
        "env_kwargs": dict(task.env_kwargs),
        "policy": name,
        "policy_digest": digest,
        "actions": "sampled" if policy is None else "as the function returns them",
        "seeds": {"first": FIRST_SEED, "scheme": "episode i resets with seed first + i and draws from its own stream"},
        "references": manifest_references(task) if policy is None else None,
        "code_version": bench.__version__,
        "versions": {package: version(package) for package in ("gymnasium", "mujoco", "numpy", "torch", "minari")},
    }
    metadata: dict[str, Any] = {
        "algorithm_name": name,
        "author": {"mgail-bench"},
        "description": f"{task.title}: trajectories of {name}, actions as executed (clipped to the bounds).",
        "requirements": [f"{package}>={version(package)}" for package in ("gymnasium", "mujoco")],
    }
    if section["references"]:
        metadata |= {"ref_max_score": section["references"]["expert"], "ref_min_score": section["references"]["random"]}
    with _progress(task, wanted - have, show) as on_progress:
        new = collect(task, actor, range(have, wanted), on_progress=on_progress)
        return write(dataset_id, root, chain(old, new), *gymnasiums(task), section, metadata)


def gymnasiums(task: Task) -> tuple[Any, spaces.Space, spaces.Space]:
    """Return Gymnasium's own words on a task: its spec, its observation space and its action space."""
    quiet: AbstractContextManager[None] = nullcontext()
    if task.family == "mujoco":
        from bench.envs.mujoco import unwarned

        quiet = unwarned()
    with quiet:
        env = gymnasium.make(task.env_id, **task.env_kwargs)
    env.close()
    return env.spec, env.observation_space, env.action_space


def _policy(task: Task, policy: str | None) -> tuple[Any, str, str]:
    """Return (callable or None for the expert, name, digest)."""
    if policy is None:
        entry = manifest_entry(task)
        if entry is None:
            raise UserError(f"there is no expert of {task.name}; train one with: bench expert train --task {task.name}")
        return None, f"expert of {task.name}", str(entry["digest"])
    from bench.policy import import_attribute

    function = import_attribute(policy)
    if not callable(function):
        raise UserError(f"{policy} is not a function of observations [N, S]")
    source = policy.rpartition(":")[0]
    content = Path(source).read_bytes() if source.endswith(".py") else source.encode()
    return function, policy, hashlib.sha256(content + policy.rpartition(":")[2].encode()).hexdigest()


def _policy_id(task: Task, policy: str) -> str:
    name = re.sub(r"[^\w]+", "-", policy.rpartition(":")[2]).strip("-")
    return f"mgailbench/{task.name}/{name}-v0"


def manifest_entry(task: Task) -> dict[str, Any] | None:
    """Return what the manifest says of the task's shipped expert, or None."""
    return read_manifest()["experts"].get(task.name)


def manifest_references(task: Task) -> References:
    """Return the mean returns of the shipped expert, stochastic and deterministic, and of random actions."""
    entry = manifest_entry(task)
    assert entry is not None
    return {
        "expert": entry["stochastic"]["mean"],
        "expert_deterministic": entry["deterministic"]["mean"],
        "random": entry["random"]["mean"],
    }


def summary(dataset: Dataset) -> Summary:
    """Return what is known of a dataset without reading its episodes."""
    section = dataset.section or {}
    return Summary(
        dataset.id,
        dataset.path,
        section.get("task"),
        section.get("policy"),
        dataset.episodes,
        dataset.steps,
        float(np.mean(section["returns"])) if section else None,
        section.get("digest"),
        dataset.size,
    )


@contextmanager
def _progress(task: Task, episodes: int, show: bool) -> Iterator[Callable[[float], None] | None]:
    """Show how far the episodes are."""
    if not show:
        yield None
        return
    with Display([episodes], 1) as display:
        display.start(0, f"demonstrations of {task.name}")
        yield lambda done: display.update(0, 0, done / episodes, f"{done:.0f} of {episodes} trajectories")
