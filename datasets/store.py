"""Minari datasets on disk: where they lie and how they are read; `datasets.write` writes them.

A dataset of ours is an ordinary Minari dataset (HDF5) whose metadata has one more entry, `SECTION`: the task, the
policy, the seeds, the reference returns, and a sha256 for every episode (see `datasets.digest`).
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from bench.errors import UserError
from bench.trajectory import Trajectory
from datasets.digest import chain, episode_digest, section_digest

SECTION = "mgail_bench"
SCHEMA = 1


def default_store() -> Path:
    """Return the folder of the datasets: environment variable MGAIL_BENCH_DATA, else ./demonstrations."""
    return Path(os.environ.get("MGAIL_BENCH_DATA") or "demonstrations")


def minari_root() -> Path:
    """Return the folder where Minari itself keeps datasets."""
    return Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")


def check_id(dataset_id: str) -> str:
    """Return the id if it is a valid Minari id, or raise a `UserError`."""
    from minari.dataset.minari_dataset import parse_dataset_id

    try:
        parse_dataset_id(dataset_id)
    except (ValueError, TypeError):
        raise UserError(f"{dataset_id!r} is not a dataset id; ids read like mgailbench/hopper/expert-v0") from None
    return dataset_id


@dataclass(frozen=True)
class Dataset:
    """An opened dataset: its metadata is read and checked, its episodes are not.

    Attributes:
        id: Minari id.
        path: its folder (with data/main_data.hdf5 and data/metadata.json).
        episodes: how many it holds.
        steps: environment steps in all of them.
        section: what we wrote about it; None if it was made by somebody else.
        observation_space: as the dataset states it.
        action_space: as the dataset states it.
        size: bytes on disk.
    """

    id: str
    path: Path
    episodes: int
    steps: int
    section: dict[str, Any] | None
    observation_space: spaces.Space
    action_space: spaces.Space
    size: int

    def _damaged(self, what: str) -> UserError:
        again = "remove the folder and make it again" if self.section is not None else "get it again"
        return UserError(f"dataset {self.id} in {self.path} is damaged: {what}; {again}")

    def digest(self, first: int | None = None) -> str:
        """Return the digest of the first so many episodes (default: all); of a foreign dataset: of its files."""
        if self.section is not None:
            return chain(self.section["episode_digests"][:first])
        sha = hashlib.sha256()
        for path in sorted((self.path / "data").rglob("*")):
            if path.is_file():
                with path.open("rb") as stream:
                    sha.update(hashlib.file_digest(stream, "sha256").digest())
        return sha.hexdigest()

    def read(self, indices: Iterable[int]) -> Iterator[Trajectory]:
        """Yield these episodes, reading no other; each is checked against its digest.

        Raises:
            UserError: the file is damaged, or an episode is not what was written.
        """
        from minari import MinariDataset

        indices = list(indices)
        expected = self.section["episode_digests"] if self.section is not None else None
        try:
            for index, episode in zip(
                indices, MinariDataset(self.path / "data").iterate_episodes(indices), strict=True
            ):
                trajectory = self._trajectory(index, episode)
                if expected is not None and episode_digest(trajectory) != expected[index]:
                    raise self._damaged(f"episode {index} does not have the digest it was written with")
                yield trajectory
        except (OSError, KeyError, RuntimeError, AssertionError, ImportError) as error:  # what h5py raises
            raise self._damaged(one_line(error)) from None

    def _trajectory(self, index: int, episode: Any) -> Trajectory:
        discrete = isinstance(self.action_space, spaces.Discrete)
        try:
            observations = np.asarray(episode.observations, np.float64)
            actions = np.asarray(episode.actions, np.int64 if discrete else np.float32)
            rewards = np.asarray(episode.rewards, np.float64)
            seed = self._seed(index)
            trajectory = Trajectory(
                observations, actions, rewards, bool(episode.terminations[-1]), bool(episode.truncations[-1]), seed
            )
        except (ValueError, TypeError, IndexError) as error:
            raise self._damaged(f"episode {index}: {one_line(error)}") from None
        if not all(np.isfinite(array).all() for array in (observations, actions, rewards)):
            raise self._damaged(f"episode {index} holds numbers that are not finite")
        return trajectory

    def _seed(self, index: int) -> int | None:
        """Our episodes' seeds follow from their numbers, so that they need no second look into the file."""
        return None if self.section is None else self.section["seeds"]["first"] + index


def one_line(error: BaseException) -> str:
    """Return an error's kind and the first line of what it says."""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def find(dataset_id: str, store: Path) -> Path | None:
    """Return the folder of a dataset in `store`, else in Minari's own folder, or None."""
    check_id(dataset_id)
    for root in (store, minari_root()):
        if (root / dataset_id / "data" / "metadata.json").exists():
            return root / dataset_id
    return None


def open_dataset(dataset_id: str, store: Path) -> Dataset:
    """Open a dataset by its id.

    Raises:
        UserError: there is none, or its metadata is damaged.
    """
    path = find(dataset_id, store)
    if path is None:
        raise UserError(
            f"there is no dataset {dataset_id} in {store} or {minari_root()}; `bench dataset list` shows what there is"
        )
    return open_path(dataset_id, path)


def open_path(dataset_id: str, path: Path) -> Dataset:
    """Open the dataset that lies in this folder; raises as `open_dataset`."""
    from minari import MinariDataset

    again = f"dataset {dataset_id} in {path} is damaged: "
    try:
        minari = MinariDataset(path / "data")
        section = minari.storage.metadata.get(SECTION)
        dataset = Dataset(
            dataset_id,
            path,
            int(minari.total_episodes),
            int(minari.total_steps),
            section,
            minari.observation_space,
            minari.action_space,
            sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        )
    except Exception as error:  # Minari checks with assertions and lets json, h5py and numpy speak for themselves
        raise UserError(f"{again}{one_line(error)}; remove the folder and make it again") from None
    if section is not None:
        if section.get("schema") != SCHEMA:
            raise UserError(f"{again}its schema is {section.get('schema')}, this version reads {SCHEMA}; make it again")
        if (
            section.get("section_digest") != section_digest(section)
            or chain(section["episode_digests"]) != section["digest"]
        ):
            raise UserError(f"{again}its metadata do not have the digest they were written with; make it again")
    return dataset


def scan(store: Path) -> list[str]:
    """Return the ids of the datasets that lie in `store`, sorted."""
    if not store.is_dir():
        return []
    found = (path.parent.parent.relative_to(store) for path in store.glob("**/data/metadata.json"))
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))
