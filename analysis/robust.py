"""Aggregates over many cells that no single run can rule, with stratified bootstrap intervals (Agarwal et al., 2021).

Strata are cells: seeds are drawn with replacement within each cell. The same data give the same interval every time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

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
    scores = np.concatenate(cells)
    order = np.argsort(scores, kind="stable")
    counts = np.concatenate([_counts(len(cell), i) for i, cell in enumerate(cells)], axis=1)[:, order]
    cut, n = len(scores) // 4, len(scores)
    weights = np.diff(np.clip(np.cumsum(counts, axis=1), cut, n - cut), axis=1, prepend=cut)  # of the middle half
    low, high = np.quantile(weights @ scores[order] / (n - 2 * cut), [0.025, 0.975])
    return float(interquartile_mean(scores)), float(low), float(high)


Array = NDArray[np.float64]


def mean_interval(values: Array) -> tuple[Array, Array] | tuple[None, None]:
    """Return the 95 % bootstrap interval of the mean over seeds: [seeds, ...] -> two of [...]; None for one seed."""
    n = len(values)
    if n == 1:
        return None, None
    low, high = np.quantile(_counts(n) @ values / n, [0.025, 0.975], axis=0)
    return low, high


def profile(cells: Sequence[Array], taus: Array) -> tuple[Array, Array, Array]:
    """Return the share of runs whose score is above each of `taus` [T], and its 95 % interval: three of [T].

    Cells weigh alike; seeds are drawn with replacement within each.

    Args:
        cells: the scores of each cell's seeds, [seeds] each.
        taus: thresholds.
    """
    above = [(cell[:, None] > taus).astype(np.float64) for cell in cells]
    share = np.mean([rows.mean(axis=0) for rows in above], axis=0)
    resampled = np.zeros((RESAMPLES, len(taus)))
    for i, rows in enumerate(above):
        resampled += _counts(len(rows), i) @ rows / len(rows)
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


def improvement(a: NDArray[np.float64], b: NDArray[np.float64], cell: int = 0) -> Improvement:
    """Return how often a run of a beats a run of b on a cell.

    Args:
        a: scores of a's seeds [n].
        b: scores of b's seeds [m].
        cell: number of the cell: the seeds of each are drawn for themselves.
    """
    wins = (np.sign(a[:, None] - b[None, :]) + 1) / 2
    resampled = ((_counts(len(a), 2 * cell) @ wins) * _counts(len(b), 2 * cell + 1)).sum(axis=1) / wins.size
    return Improvement(float(wins.mean()), resampled)


def improvement_interval(cells: Sequence[Improvement]) -> Interval:
    """Return the probability of improvement, averaged over cells, and its 95 % interval."""
    low, high = np.quantile(np.mean([cell.resampled for cell in cells], axis=0), [0.025, 0.975])
    return float(np.mean([cell.probability for cell in cells])), float(low), float(high)


@lru_cache(128)
def _counts(n: int, stream: int = 0) -> NDArray[np.float64]:
    """Return how often each of n seeds is drawn: [RESAMPLES, n]; streams are independent of each other."""
    drawn = np.random.default_rng(stream).multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    return drawn.astype(np.float64)
