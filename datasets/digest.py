"""Digests of episodes and of what is written about them.

The digest of the first n episodes is the sha256 over their n digests in order: n episodes can be checked without
reading the others, and extending a dataset leaves the digest of what it had.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np

from bench.trajectory import Trajectory


def episode_digest(trajectory: Trajectory) -> str:
    """Return the sha256 of an episode's content: shapes, types, all numbers (little endian), how it ended, its seed."""
    sha = hashlib.sha256()
    for array in (trajectory.observations, trajectory.actions, trajectory.rewards):
        little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
        sha.update(f"{little.shape}{little.dtype.str}".encode())
        sha.update(little.data)
    sha.update(f"{trajectory.terminated}{trajectory.truncated}{trajectory.seed}".encode())
    return sha.hexdigest()


def chain(digests: Iterable[str]) -> str:
    """Return the digest of episodes from their digests in order."""
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def section_digest(section: dict[str, Any]) -> str:
    """Return the sha256 of a dataset's own metadata, that of itself apart."""
    rest = {key: value for key, value in section.items() if key != "section_digest"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
