"""Aggregates over many cells that no single run can rule, with stratified bootstrap intervals (Agarwal et al., 2021).

Strata are cells: seeds are drawn with replacement within each cell. The same data give the same interval every time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2000
Interval = tuple[float, float, float]


def interquartile_mean(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of the middle half of `scores` [..., n]: floor(n / 4) values are cut at each end."""
    n = scores.shape[-1]
    cut = n // 4
    return np.sort(scores, axis=-1)[..., cut : n - cut].mean(axis=-1)


def iqm_interval(cells: Sequence[NDArray[np.float64]]) -> Interval:
    """Return the interquartile mean over all runs of all cells and its 95 % interval.

    Args:
        cells: the scores of each cell's seeds, [seeds] each; cells may differ in their number of seeds.
    """
    generator = np.random.default_rng(0)
    resampled = np.concatenate([_resample(cell, generator) for cell in cells], axis=1)
    low, high = np.quantile(interquartile_mean(resampled), [0.025, 0.975])
    return float(interquartile_mean(np.concatenate(cells))), float(low), float(high)


Array = NDArray[np.float64]


def mean_interval(values: Array) -> tuple[Array, Array] | tuple[None, None]:
    """Return the 95 % bootstrap interval of the mean over seeds: [seeds, ...] -> two of [...]; None for one seed."""
    n = len(values)
    if n == 1:
        return None, None
    low, high = np.quantile(_resample_counts(n, np.random.default_rng(0)) @ values / n, [0.025, 0.975], axis=0)
    return low, high


def profile(cells: Sequence[Array], taus: Array) -> tuple[Array, Array, Array]:
    """Return the share of runs whose score is above each of `taus` [T], and its 95 % interval: three of [T].

    Cells weigh alike; seeds are drawn with replacement within each.

    Args:
        cells: the scores of each cell's seeds, [seeds] each.
        taus: thresholds.
    """
    generator = np.random.default_rng(0)
    above = [(cell[:, None] > taus).astype(np.float64) for cell in cells]
    share = np.mean([rows.mean(axis=0) for rows in above], axis=0)
    resampled = np.zeros((RESAMPLES, len(taus)))
    for rows in above:
        resampled += _resample_counts(len(rows), generator) @ rows / len(rows)
    low, high = np.quantile(resampled / len(above), [0.025, 0.975], axis=0)
    return share, low, high


@dataclass(frozen=True)
class Improvement:
    """How often a run of a beats a run of b on one cell.

    Attributes:
        probability: P(a > b) + P(a = b) / 2 over all pairs of a seed of a and one of b (Mann-Whitney's U / nm).
        resampled: [RESAMPLES] the same for seeds drawn with replacement.
    """

    probability: float
    resampled: NDArray[np.float64]


def improvement(a: NDArray[np.float64], b: NDArray[np.float64], generator: np.random.Generator) -> Improvement:
    """Return how often a run of a beats a run of b, from the scores of a's seeds [n] and of b's seeds [m]."""
    wins = (np.sign(a[:, None] - b[None, :]) + 1) / 2
    counts_a, counts_b = _resample_counts(len(a), generator), _resample_counts(len(b), generator)
    resampled = ((counts_a @ wins) * counts_b).sum(axis=1) / wins.size
    return Improvement(float(wins.mean()), resampled)


def improvement_interval(cells: Sequence[Improvement]) -> Interval:
    """Return the probability of improvement, averaged over cells, and its 95 % interval."""
    low, high = np.quantile(np.mean([cell.resampled for cell in cells], axis=0), [0.025, 0.975])
    return float(np.mean([cell.probability for cell in cells])), float(low), float(high)


def _resample(cell: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the seeds of one cell drawn with replacement: [RESAMPLES, seeds]."""
    return cell[generator.integers(len(cell), size=(RESAMPLES, len(cell)))]


def _resample_counts(n: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """Return how often each of n seeds is drawn: [RESAMPLES, n]."""
    return generator.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.float64)
