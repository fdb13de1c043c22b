"""Writing Minari datasets: aside, under a lock, and only where there is room for them."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from bench.errors import UserError
from bench.trajectory import Trajectory
from datasets.digest import chain, episode_digest, section_digest
from datasets.store import SCHEMA, SECTION, Dataset, check_id, one_line, open_path


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Let one process at a time write into `store`; the others wait."""
    try:
        store.mkdir(parents=True, exist_ok=True)
        stream = (store / ".lock").open("w")
    except OSError as error:
        raise UserError(f"cannot write into {store}: {error.strerror or error}") from None
    with stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def write(
    dataset_id: str,
    store: Path,
    episodes: Iterable[Trajectory],
    env_spec: Any,
    observation_space: spaces.Space,
    action_space: spaces.Space,
    section: dict[str, Any],
    metadata: dict[str, Any],
) -> Dataset:
    """Write a dataset aside, then rename it into place; a shorter one of the same id is replaced.

    Args:
        dataset_id: Minari id.
        store: root folder; the caller holds its lock.
        episodes: in order; they may be made while they are written.
        env_spec: Gymnasium's, so that Minari can recover the environment.
        observation_space: of one environment.
        action_space: of one environment.
        section: our entry without the digests and the counts, which are added here.
        metadata: further entries as Minari knows them.

    Raises:
        UserError: the folder cannot be written, or the disk is full; nothing is left behind.
    """
    from minari import __version__ as minari_version
    from minari.dataset.minari_storage import MinariStorage

    target = store / check_id(dataset_id)
    partial = store.resolve() / f".{dataset_id.replace('/', '-')}.partial"  # Minari loses its way on relative paths
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
        (partial / "data").mkdir(parents=True)
        storage = MinariStorage.new(partial / "data", observation_space, action_space, env_spec)
        digests, returns, lengths = [], [], []
        for trajectory in episodes:
            reserve(partial, size_of(trajectory))
            storage.update_episodes([_buffer(trajectory, observation_space)])
            digests.append(episode_digest(trajectory))
            returns.append(trajectory.total_reward)
            lengths.append(len(trajectory))
        section = section | {
            "schema": SCHEMA,
            "digest": chain(digests),
            "episode_digests": digests,
            "returns": returns,
            "lengths": lengths,
        }
        section["section_digest"] = section_digest(section)
        storage.update_metadata(
            metadata | {"dataset_id": dataset_id, "minari_version": minari_version, SECTION: section}
        )
        # The data first: a reader that still sees the old metadata finds its episodes unchanged in the new file.
        (target / "data").mkdir(parents=True, exist_ok=True)
        for name in ("main_data.hdf5", "metadata.json"):
            (partial / "data" / name).replace(target / "data" / name)
    except (OSError, RuntimeError) as error:  # h5py reports a full disk as either
        if isinstance(error, FileNotFoundError) or (isinstance(error, RuntimeError) and "write" not in str(error)):
            raise
        reason = _reason(error)
        raise UserError(f"cannot write dataset {dataset_id} into {store}: {reason}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return open_path(dataset_id, target)


def size_of(trajectory: Trajectory) -> int:
    """Return the bytes of an episode's content."""
    return trajectory.observations.nbytes + trajectory.actions.nbytes + trajectory.rewards.nbytes


def reserve(folder: Path, content: int) -> None:
    """Raise the operating system's error if there is no room for so many bytes of content in `folder`.

    HDF5 must not meet a full disk itself: it can then neither write nor close its file, and says so at every turn.
    """
    ballast = folder / f".ballast-{os.getpid()}"
    try:
        with ballast.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, 2 * content + 2**20)  # HDF5 rounds chunks up
    finally:
        ballast.unlink(missing_ok=True)


def _reason(error: OSError | RuntimeError) -> str:
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return os.strerror(errno.ENOSPC) if "No space left" in str(error) else one_line(error)


def _buffer(trajectory: Trajectory, observation_space: spaces.Space) -> Any:
    """Return the episode as Minari wants it: observations in the type of the space (float32 on classic tasks)."""
    from minari.data_collector import EpisodeBuffer

    observations: Any = trajectory.observations.astype(observation_space.dtype)
    assert np.array_equal(observations, trajectory.observations), "the space's type must hold the observations exactly"
    ends: Sequence[bool] = [False] * (len(trajectory) - 1)
    actions: Any = trajectory.actions
    rewards: Any = trajectory.rewards
    return EpisodeBuffer(
        seed=trajectory.seed,
        observations=observations,
        actions=actions,
        rewards=rewards,
        terminations=[*ends, trajectory.terminated],
        truncations=[*ends, trajectory.truncated],
        infos={},
    )
