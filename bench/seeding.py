"""One seed, many named independent random streams.

A name always gives the same stream for the same seed, whatever else is drawn and by which method: this is what makes
"same cell, same seed" a pair. Streams are children of one `numpy.random.SeedSequence`.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# First evaluation start of a finished run; curve evaluations and tuning use other starts.
FINAL_EVALUATION_SEED = 1_000_000
CURVE_EVALUATION_SEED = 2_000_000
TUNING_EVALUATION_SEED = 3_000_000


class Streams:
    """Named independent random streams of one run seed."""

    def __init__(self, seed: int):
        self.seed = seed

    def _sequence(self, name: str) -> np.random.SeedSequence:
        return np.random.SeedSequence(entropy=self.seed, spawn_key=tuple(name.encode()))

    def integer(self, name: str) -> int:
        """Return the stream's seed as an integer below 2^31 (for `env.reset(seed=...)`)."""
        return int(self._sequence(name).generate_state(1)[0] >> 1)

    def numpy(self, name: str) -> np.random.Generator:
        """Return the stream as a NumPy generator."""
        return np.random.Generator(np.random.PCG64(self._sequence(name)))

    def torch(self, name: str) -> "torch.Generator":
        """Return the stream as a torch generator (CPU)."""
        import torch

        return torch.Generator().manual_seed(int(self._sequence(name).generate_state(1, np.uint64)[0] >> 1))
