"""Demonstrations for other programs: flat NumPy arrays, a tidy table, or the layout of Ho & Ermon's release."""

from collections.abc import Callable, Sequence
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.errors import UserError
from bench.trajectory import Trajectory
from datasets import store as stores
from datasets.write import reserve, size_of


def flat(trajectories: Sequence[Trajectory]) -> dict[str, NDArray]:
    """Return one row per step, as D4RL's `qlearning_dataset` has it: [M, S], [M, A] or [M], [M].

    `next_observations` are the true next ones; `terminals` and `timeouts` tell how an episode ended.
    """
    ends = [np.arange(len(t)) == len(t) - 1 for t in trajectories]
    return {
        "observations": np.concatenate([t.observations[:-1] for t in trajectories]),
        "actions": np.concatenate([t.actions for t in trajectories]),
        "rewards": np.concatenate([t.rewards for t in trajectories]),
        "next_observations": np.concatenate([t.observations[1:] for t in trajectories]),
        "terminals": np.concatenate([end & t.terminated for end, t in zip(ends, trajectories, strict=True)]),
        "timeouts": np.concatenate([end & t.truncated for end, t in zip(ends, trajectories, strict=True)]),
        "trajectory": np.concatenate([np.full(len(t), i) for i, t in enumerate(trajectories)]),
        "step": np.concatenate([np.arange(len(t)) for t in trajectories]),
    }


def write_npz(trajectories: Sequence[Trajectory], path: Path) -> None:
    """Write `flat` as a compressed .npz."""
    with path.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **flat(trajectories))


def write_csv(trajectories: Sequence[Trajectory], path: Path) -> None:
    """Write a table, one row per step: trajectory, step, observation_*, action_*, reward, terminated, truncated."""
    arrays = flat(trajectories)
    columns: dict[str, NDArray] = {"trajectory": arrays["trajectory"], "step": arrays["step"]}
    for name, array in (("observation", arrays["observations"]), ("action", arrays["actions"])):
        if array.ndim == 1:
            columns[name] = array
        else:
            columns |= {f"{name}_{i}": array[:, i] for i in range(array.shape[1])}
    columns |= {"reward": arrays["rewards"], "terminated": arrays["terminals"], "truncated": arrays["timeouts"]}
    pd.DataFrame(columns).to_csv(path, index=False)


def write_h5(trajectories: Sequence[Trajectory], path: Path) -> None:
    """Write the layout of Ho & Ermon 2016: obs_B_T_Do, a_B_T_Da, r_B_T padded with zeros, and len_B.

    As in their release, discrete actions are a last axis of size 1.
    """
    lengths = np.asarray([len(t) for t in trajectories])
    steps = int(lengths.max())

    def padded(rows: Sequence[NDArray]) -> NDArray:
        block = np.zeros((len(rows), steps, *rows[0].shape[1:]), rows[0].dtype)
        for i, row in enumerate(rows):
            block[i, : len(row)] = row
        return block

    with h5py.File(path, "w") as file:
        file["obs_B_T_Do"] = padded([t.observations[:-1] for t in trajectories])
        file["a_B_T_Da"] = padded([t.actions if t.actions.ndim == 2 else t.actions[:, None] for t in trajectories])
        file["r_B_T"] = padded([t.rewards for t in trajectories])
        file["len_B"] = lengths


WRITERS: dict[str, Callable[[Sequence[Trajectory], Path], None]] = {
    ".npz": write_npz,
    ".csv": write_csv,
    ".h5": write_h5,
}


def export_demonstrations(
    dataset_id: str, path: Path, trajectories: int | None = None, store: Path | None = None
) -> Path:
    """Write the first n whole trajectories of a dataset; the file's ending says how.

    Args:
        dataset_id: Minari id.
        path: ``*.npz`` (`write_npz`), ``*.csv`` (`write_csv`) or ``*.h5`` (`write_h5`); an existing file is replaced.
        trajectories: n (default: all).
        store: root folder (default: `datasets.store.default_store()`).

    Raises:
        UserError: no such dataset, a damaged one, too few trajectories, an unknown ending, or a file that cannot be
            written.
    """
    path = Path(path)
    if path.suffix not in WRITERS:
        raise UserError(f"{path}: the ending must be one of {', '.join(WRITERS)}")
    dataset = stores.open_dataset(dataset_id, store or stores.default_store())
    count = dataset.episodes if trajectories is None else trajectories
    if not 1 <= count <= dataset.episodes:
        raise UserError(f"dataset {dataset_id} holds {dataset.episodes} trajectories, {count} were asked for")
    partial = path.with_name(path.name + ".partial")
    try:
        whole = list(dataset.read(range(count)))
        reserve(path.parent, sum(map(size_of, whole)))
        WRITERS[path.suffix](whole, partial)
        partial.replace(path)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)
    return path
