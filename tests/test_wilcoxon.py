"""The signed-rank test, its interval and Holm's correction: against scipy where it has them, by hand elsewhere."""

import itertools

import numpy as np
import pytest
import scipy.stats

from analysis.wilcoxon import EXACT_LIMIT, holm, null_distribution, shift_interval, signed_rank

ALTERNATIVES = ("two-sided", "greater", "less")


# --- one test ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("n", [1, 2, 5, 6, 11, 31, EXACT_LIMIT])
def test_exact_p_equals_scipy(n: int, alternative: str) -> None:
    d = np.random.default_rng(n).normal(0.3, 1.0, n)
    ours = signed_rank(d, np.zeros(n), alternative)
    theirs = scipy.stats.wilcoxon(d, alternative=alternative, method="exact")
    assert ours.method == "exact"
    assert ours.statistic == theirs.statistic
    assert ours.p_value == pytest.approx(theirs.pvalue, rel=1e-12)


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_asymptotic_p_equals_scipy_with_ties_and_zeros(alternative: str) -> None:
    d = np.random.default_rng(0).integers(-4, 6, 90).astype(float)
    ours = signed_rank(d, np.zeros(90), alternative)
    theirs = scipy.stats.wilcoxon(d, alternative=alternative, method="asymptotic", zero_method="wilcox")
    assert ours.method == "asymptotic"
    assert ours.n_zero == (d == 0).sum() > 0
    assert (ours.statistic, ours.p_value) == (theirs.statistic, pytest.approx(theirs.pvalue, rel=1e-12))


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("seed", range(4))
def test_exact_p_with_ties_and_zeros_counts_all_sign_flips(seed: int, alternative: str) -> None:
    d = np.random.default_rng(seed).integers(-3, 5, 9).astype(float)
    nonzero = d[d != 0]
    ranks = scipy.stats.rankdata(np.abs(nonzero))
    flips = np.array(list(itertools.product((0, 1), repeat=len(ranks)))) @ ranks
    observed = ranks[nonzero > 0].sum()
    greater, less = np.mean(flips >= observed), np.mean(flips <= observed)
    expected = {"two-sided": min(1, 2 * min(greater, less)), "greater": greater, "less": less}[alternative]
    assert signed_rank(d, np.zeros(9), alternative).p_value == pytest.approx(expected, rel=1e-12)


def test_exact_p_with_ties_equals_scipys_permutation_test() -> None:
    d = np.array([1.0, 1.0, 2.0, -2.0, 3.0, 3.0, -1.0, 4.0])
    theirs = scipy.stats.wilcoxon(d, method=scipy.stats.PermutationMethod(n_resamples=np.inf))
    assert signed_rank(d, np.zeros(8)).p_value == pytest.approx(theirs.pvalue, rel=1e-12)


def test_seven_pairs_two_zeros_five_wins() -> None:
    outcome = signed_rank([3, 5, 9, 4, 8, 2, 6], [1, 4, 6, 4, 3, 2, 2])  # differences 2 1 3 0 5 0 4
    assert (outcome.n_pairs, outcome.n_zero, outcome.statistic, outcome.w_plus) == (7, 2, 0.0, 15.0)
    assert outcome.p_value == outcome.min_attainable_p == 0.0625
    assert outcome.rank_biserial == 1.0
    assert outcome.median_difference == 2.0
    assert (outcome.shift_low, outcome.shift_high) == (None, None)


def test_seven_pairs_two_zeros_five_wins_of_equal_sizes() -> None:
    outcome = signed_rank([3, 3, 5, 4, 5, 2, 4], [1, 3, 3, 3, 3, 2, 3])  # ranks 4 4 1.5 4 1.5
    assert (outcome.n_pairs, outcome.n_zero, outcome.w_plus, outcome.p_value) == (7, 2, 15.0, 0.0625)
    theirs = scipy.stats.wilcoxon([2, 2, 1, 2, 1], method=scipy.stats.PermutationMethod(n_resamples=np.inf))
    assert (outcome.statistic, outcome.p_value) == (theirs.statistic, theirs.pvalue)


def test_w_and_effect_by_hand() -> None:
    outcome = signed_rank([10, 20, 30, 40], [11, 18, 27, 36])  # -1 2 3 4: ranks 1 2 3 4
    assert (outcome.statistic, outcome.w_plus) == (1.0, 9.0)
    assert outcome.p_value == 0.25  # W- <= 1 for 2 of 16 patterns, doubled
    assert outcome.rank_biserial == 0.8
    assert outcome.mean_difference == 2.0
    assert outcome.shift == 2.25  # Walsh averages -1 .5 1 1.5 2 2.5 3 3 3.5 4
    assert signed_rank([10, 20, 30, 40], [11, 18, 27, 36], "greater").statistic == 9.0


def test_no_difference_at_all_is_undefined() -> None:
    outcome = signed_rank([200.0] * 11, [200.0] * 11)
    assert (outcome.n_pairs, outcome.n_zero, outcome.median_difference) == (11, 11, 0.0)
    for value in (outcome.statistic, outcome.w_plus, outcome.p_value, outcome.method, outcome.rank_biserial):
        assert value is None
    assert outcome.direction == 0


def test_one_pair_and_none() -> None:
    one = signed_rank([2.0], [1.0])
    assert (one.p_value, one.min_attainable_p, one.shift) == (1.0, 1.0, 1.0)
    none = signed_rank([], [])
    assert (none.n_pairs, none.p_value, none.mean_difference) == (0, None, None)


def test_rounding_makes_neither_differences_nor_breaks_ties() -> None:
    a, b = np.array([0.1 + 0.2, 1.1, 2.2 + 0.1]), np.array([0.3, 1.0, 2.2])
    outcome = signed_rank(a, b)
    assert (outcome.n_zero, outcome.w_plus, outcome.p_value) == (1, 3.0, 0.5)
    tied = signed_rank([1.1, 2.2], [1.0, 2.2 + 0.1])  # 0.1 and -0.1, up to rounding
    assert tied.w_plus == 1.5


@pytest.mark.parametrize("bad", [([1.0], [1.0, 2.0]), ([np.nan], [0.0])])
def test_refuses_unpaired_or_unknown_values(bad: tuple) -> None:
    with pytest.raises(ValueError, match="paired"):
        signed_rank(*bad)


def test_null_distribution_is_exact_at_the_limit() -> None:
    probabilities = null_distribution(np.arange(1.0, EXACT_LIMIT + 1))
    assert probabilities.sum() == 1.0
    assert probabilities[0] == probabilities[-1] == 0.5**EXACT_LIMIT


# --- shift ------------------------------------------------------------------------------------------------------------


def test_interval_from_six_pairs_on() -> None:
    assert shift_interval(np.arange(1.0, 6.0)) == (None, None)
    assert shift_interval(np.arange(1.0, 7.0)) == (1.0, 6.0)  # P(W+ = 0) = 1/64 < .025 <= 2/64: the whole range


@pytest.mark.parametrize("n", [6, 9, 15, 31, 80])
def test_interval_holds_what_the_test_does_not_reject(n: int) -> None:
    d = np.random.default_rng(n).normal(1.0, 2.0, n)
    low, high = shift_interval(d)
    method = "exact" if n <= EXACT_LIMIT else "asymptotic"
    step = 1e-6
    for inside, outside in ((low + step, low - step), (high - step, high + step)):
        assert scipy.stats.wilcoxon(d - inside, method=method).pvalue > 0.05
        assert scipy.stats.wilcoxon(d - outside, method=method).pvalue <= 0.05


# --- Holm -------------------------------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []
