"""One seed, many named independent random streams.

A name always gives the same stream for the same seed, whatever else is drawn and by which method: this is what makes
"same cell, same seed" a pair. Streams are children of one `numpy.random.SeedSequence`. An expert's training
draws from streams of the same names: that of seed 0 begins at the starts of run seed 0, and nothing compares the two.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

# The first start of an evaluation. What is chosen on the starts that tables are made on would look better than it is.
FINAL_EVALUATION_SEED = 1_000_000
CURVE_EVALUATION_SEED = 2_000_000
TUNING_EVALUATION_SEED = 3_000_000
TUNING_SEEDS = 1000  # run seeds from here on are for tuning, ablations and sweeps; tables use 0 to 99


def final_evaluation_seed(run_seed: int) -> int:
    """Return the first start of a run's final evaluation: that of tables, or for a tuning seed another."""
    return TUNING_EVALUATION_SEED if run_seed >= TUNING_SEEDS else FINAL_EVALUATION_SEED


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
