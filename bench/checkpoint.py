"""A run's state on disk: tensors, arrays and plain values, so that reading one runs no code that it might hold."""

import io
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.errors import UserError
from bench.files import SCHEMA, write_bytes
from bench.seeding import Streams

_SAFE = [  # what a checkpoint may hold beside tensors and plain values: NumPy's arrays and scalars
    np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    np._core.multiarray.scalar,  # type: ignore[attr-defined]
    np.ndarray,
    np.dtype,
    *{type(np.dtype(kind)) for kind in "?bhilqBHILQefd"},
]


def write_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state aside, then rename it into place."""
    stream = io.BytesIO()  # torch would report a full disk as a bug; writing the bytes ourselves does not
    torch.save({"schema": SCHEMA, **state}, stream)
    write_bytes(path, stream.getbuffer())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `write_checkpoint` wrote; a `UserError` says that the file is damaged, or of another version."""
    try:
        with torch.serialization.safe_globals(_SAFE):
            state = torch.load(path, weights_only=True)
        schema = state.pop("schema", 1)  # the first checkpoints do not say
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise UserError(f"{path} cannot be read ({reason}); remove its folder to run it again") from error
    if schema != SCHEMA:
        raise UserError(f"{path} is of schema {schema}, this version reads {SCHEMA}; remove its folder to run it again")
    return state


def seed_global_generators(seed: int) -> None:
    """Seed the global generators: our methods draw from named streams only, but a user's method may not."""
    value = Streams(seed).integer("global")
    torch.manual_seed(value)
    np.random.seed(value)  # noqa: NPY002
    random.seed(value)


def global_generators() -> dict[str, Any]:
    """Return the states of the global generators of torch, NumPy and Python."""
    return {
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state(),  # noqa: NPY002
        "python": random.getstate(),
    }


def restore_global_generators(state: Mapping[str, Any]) -> None:
    """Restore what `global_generators` returned."""
    torch.set_rng_state(state["torch"])
    np.random.set_state(state["numpy"])  # noqa: NPY002
    kind, numbers, gauss = state["python"]
    random.setstate((kind, tuple(numbers), gauss))
