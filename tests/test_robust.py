"""Aggregates over cells and their bootstrap intervals: against scipy where it has them, and by hand elsewhere."""

import numpy as np
import pytest
import scipy.stats

from analysis.robust import (
    improvement,
    improvement_interval,
    interquartile_mean,
    iqm_interval,
    mean_interval,
    profile,
)


@pytest.mark.parametrize("n", [1, 3, 4, 11, 20])
def test_interquartile_mean_is_scipys_trimmed_mean(n: int) -> None:
    scores = np.random.default_rng(n).normal(size=n)
    assert interquartile_mean(scores) == pytest.approx(scipy.stats.trim_mean(scores, 0.25), rel=1e-12)


def test_improvement_is_mann_whitneys_u() -> None:
    generator = np.random.default_rng(0)
    cells = [(generator.integers(0, 9, 7).astype(float), generator.integers(0, 9, 5).astype(float)) for _ in range(3)]
    expected = np.mean([scipy.stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) for a, b in cells])
    outcomes = [improvement(a, b, cell) for cell, (a, b) in enumerate(cells)]
    probability, low, high = improvement_interval(outcomes)
    assert probability == pytest.approx(expected, rel=1e-12)
    assert 0 <= low < probability < high <= 1


def test_bootstrap_intervals_are_the_same_every_time_and_cover() -> None:
    cells = [np.random.default_rng(i).normal(size=30) for i in range(4)]
    assert iqm_interval(cells) == iqm_interval(cells)
    value, low, high = iqm_interval(cells)
    spread = np.concatenate(cells).std() / np.sqrt(120)
    assert 2 * spread < high - low < 8 * spread
    assert low < value < high
    drawn = np.random.default_rng(9).integers(30, size=(4000, 4, 30))
    resampled = interquartile_mean(np.stack([cells[i][drawn[:, i]] for i in range(4)], axis=1).reshape(4000, 120))
    assert [low, high] == pytest.approx(np.quantile(resampled, [0.025, 0.975]).tolist(), abs=0.03)
    sure = improvement(np.ones(3), np.zeros(2))
    assert improvement_interval([sure]) == (1.0, 1.0, 1.0)


def test_mean_interval_is_scipys_percentile_bootstrap_up_to_chance() -> None:
    values = np.random.default_rng(1).normal(size=(25, 1))
    low, high = mean_interval(values)
    theirs = scipy.stats.bootstrap((values[:, 0],), np.mean, method="percentile", rng=np.random.default_rng(2))
    assert [low[0], high[0]] == pytest.approx(list(theirs.confidence_interval), abs=0.05)
    assert mean_interval(values[:1]) == (None, None)


def test_profile_weighs_cells_alike() -> None:
    cells = [np.array([0.2, 0.6]), np.array([0.5, 0.5, 0.5, 1.0])]
    share, low, high = profile(cells, np.array([0.0, 0.2, 0.5, 0.9, 1.0]))
    assert share.tolist() == [1.0, 0.75, 0.375, 0.125, 0.0]  # above, not at: 1/2 and 4/4, 1/2 and 1/4, 0 and 1/4
    assert (low <= share).all()
    assert (share <= high).all()
    assert (low[1], high[1]) == (0.5, 1.0)
