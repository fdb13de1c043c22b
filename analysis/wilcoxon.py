"""The Wilcoxon signed-rank test on plain arrays, with its effect size, shift and interval (F. Wilcoxon, 1945).

Zeros are dropped, ties get mid-ranks, and the null distribution is that of all 2^n sign flips of *these* ranks, so p is
exact with ties too; only above `EXACT_LIMIT` nonzero pairs it is the normal approximation (with tie correction, without
continuity correction). Everything is a - b.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Alternative = Literal["two-sided", "greater", "less"]

EXACT_LIMIT = 50
ZERO_METHOD = "wilcox"
# Means of equal numbers in another order differ in their last bits: that is neither a difference nor a broken tie.
ROUNDING = 1e-11
CONFIDENCE = 0.95


@dataclass(frozen=True)
class SignedRank:
    """The outcome of one test; None where it is undefined.

    Attributes:
        n_pairs: pairs compared, zeros included.
        n_zero: pairs without a difference.
        statistic: min(W+, W-) two-sided, W+ one-sided.
        w_plus: sum of the ranks of positive differences.
        p_value: exact, or asymptotic above `EXACT_LIMIT` nonzero pairs.
        method: ``exact`` or ``asymptotic``.
        alternative: ``two-sided``, or what a - b is claimed to be.
        mean_difference: mean of a - b over all pairs.
        median_difference: median of a - b over all pairs.
        rank_biserial: matched-pairs rank-biserial correlation (W+ - W-) / (W+ + W-), in [-1, 1].
        shift: Hodges-Lehmann estimate, the median of all Walsh averages (zeros kept).
        shift_low: lower end of the shift's exact 95 % interval; None below 6 nonzero pairs.
        shift_high: its upper end.
        min_attainable_p: the least p that so many nonzero pairs can give.
    """

    n_pairs: int
    n_zero: int
    statistic: float | None
    w_plus: float | None
    p_value: float | None
    method: str | None
    alternative: Alternative
    mean_difference: float | None
    median_difference: float | None
    rank_biserial: float | None
    shift: float | None
    shift_low: float | None
    shift_high: float | None
    min_attainable_p: float | None

    @property
    def direction(self) -> int:
        """Return 1 if the ranks favour a, -1 if they favour b, 0 if neither."""
        return int(np.sign(self.rank_biserial or 0.0))


def signed_rank(a: ArrayLike, b: ArrayLike, alternative: Alternative = "two-sided") -> SignedRank:
    """Test whether the differences a - b are symmetric about zero.

    Args:
        a: [n] paired values.
        b: [n] paired values.
        alternative: ``two-sided``, ``greater`` (a > b) or ``less``.

    Returns:
        The outcome; with no nonzero difference its p-value and statistic are None.

    Raises:
        ValueError: if the two are not equally long vectors of finite numbers.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 1 or a.shape != b.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a paired test needs two equally long vectors of finite numbers")
    differences = a - b
    tolerance = ROUNDING * max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
    differences[np.abs(differences) <= tolerance] = 0.0
    nonzero = differences[differences != 0]
    n_pairs, n = len(differences), len(nonzero)
    mean = float(differences.mean()) if n_pairs else None
    median = float(np.median(differences)) if n_pairs else None
    if n == 0:
        undefined = (None,) * 5
        return SignedRank(n_pairs, n_pairs, None, None, None, None, alternative, mean, median, *undefined)

    ranks = mid_ranks(np.abs(nonzero), tolerance)
    w_plus = float(ranks[nonzero > 0].sum())
    w_minus = float(ranks[nonzero < 0].sum())
    exact = n <= EXACT_LIMIT
    greater, less = (_exact_tails if exact else _normal_tails)(ranks, w_plus)
    p_value = {"two-sided": min(1.0, 2 * min(greater, less)), "greater": greater, "less": less}[alternative]
    low, high = shift_interval(differences) if n >= 6 else (None, None)
    return SignedRank(
        n_pairs=n_pairs,
        n_zero=n_pairs - n,
        statistic=min(w_plus, w_minus) if alternative == "two-sided" else w_plus,
        w_plus=w_plus,
        p_value=p_value,
        method="exact" if exact else "asymptotic",
        alternative=alternative,
        mean_difference=mean,
        median_difference=median,
        rank_biserial=(w_plus - w_minus) / (w_plus + w_minus),
        shift=float(np.median(walsh_averages(differences))),
        shift_low=low,
        shift_high=high,
        min_attainable_p=0.5**n * (2 if alternative == "two-sided" else 1),
    )


def mid_ranks(sizes: NDArray[np.float64], tolerance: float = 0.0) -> NDArray[np.float64]:
    """Return the ranks 1..n of `sizes` [n]; values closer than `tolerance` to their neighbour share their mean rank."""
    order = np.argsort(sizes, kind="stable")
    group = np.concatenate([[0], np.cumsum(np.diff(sizes[order]) > tolerance)])
    counts = np.bincount(group)
    ranks = np.empty(len(sizes))
    ranks[order] = (np.cumsum(counts) - (counts - 1) / 2)[group]
    return ranks


def null_distribution(ranks: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the probabilities of 2 W+ = 0, 1, 2, ... when every sign is a fair coin: [2 sum(ranks) + 1].

    Doubled mid-ranks are whole numbers, so the distribution is a product of polynomials (1 + x^2r) / 2. Halving is
    exact in binary, and so is every sum here up to 50 ranks: the numerators stay below 2^53.
    """
    steps = np.rint(2 * ranks).astype(int)
    probabilities = np.zeros(steps.sum() + 1)
    probabilities[0] = 1.0
    for step in steps:
        probabilities *= 0.5
        probabilities[step:] += probabilities[:-step].copy()
    return probabilities


def _exact_tails(ranks: NDArray[np.float64], w_plus: float) -> tuple[float, float]:
    """Return P(W+ >= w_plus) and P(W+ <= w_plus) over all sign flips."""
    probabilities = null_distribution(ranks)
    observed = round(2 * w_plus)
    return float(probabilities[observed:].sum()), float(probabilities[: observed + 1].sum())


def _normal_tails(ranks: NDArray[np.float64], w_plus: float) -> tuple[float, float]:
    """Return the same two tails from the normal approximation; sum(ranks^2) / 4 holds the tie correction."""
    z = (w_plus - ranks.sum() / 2) / math.sqrt((ranks**2).sum() / 4)
    return math.erfc(z / math.sqrt(2)) / 2, math.erfc(-z / math.sqrt(2)) / 2


def walsh_averages(differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sorted means of all pairs of differences, each with itself too: [n (n + 1) / 2]."""
    i, j = np.triu_indices(len(differences))
    return np.sort((differences[i] + differences[j]) / 2)


def shift_interval(differences: NDArray[np.float64]) -> tuple[float, float] | tuple[None, None]:
    """Return the 95 % interval of the Hodges-Lehmann shift of `differences` [n], zeros included.

    It holds the shifts that the two-sided test does not reject: a shift other than zero turns zeros into differences,
    so they count here. The closed interval of order statistics is conservative with ties (G. Noether, 1967).
    """
    n = len(differences)
    tail = (1 - CONFIDENCE) / 2
    if n <= EXACT_LIMIT:
        cumulated = np.cumsum(null_distribution(np.arange(1.0, n + 1))[::2])
        cut = int(np.searchsorted(cumulated, tail, side="right")) - 1  # the largest k with P(W+ <= k) <= tail
    else:
        z = 1.959963984540054
        cut = math.floor(n * (n + 1) / 4 - z * math.sqrt(n * (n + 1) * (2 * n + 1) / 24))
    if cut < 0:
        return None, None
    averages = walsh_averages(differences)
    return float(averages[cut]), float(averages[-1 - cut])


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """Return the p-values [m] adjusted for m tests by the step-down method of S. Holm (1979)."""
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
