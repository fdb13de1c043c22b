"""Signed ranks, intervals and aggregates: against scipy wherever it has the same method, and by hand elsewhere."""

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from analysis import statistics
from analysis.foreign import read_episodes
from analysis.load import Results
from analysis.robust import (
    improvement,
    improvement_interval,
    interquartile_mean,
    iqm_interval,
    mean_interval,
    profile,
)
from analysis.wilcoxon import EXACT_LIMIT, holm, null_distribution, shift_interval, signed_rank
from bench.errors import UserError

ALTERNATIVES = ("two-sided", "greater", "less")


def table(tmp_path: Path, rows: list[tuple]) -> Results:
    """Results of a tidy table with one episode per (algorithm, task, trajectories, seed)."""
    columns = ["algorithm", "task", "trajectories", "seed", "return"]
    frame = pd.DataFrame(rows, columns=columns).assign(episode=0)
    frame.to_csv(tmp_path / "episodes.csv", index=False)
    return read_episodes(tmp_path / "episodes.csv")


def only(rows: list[dict], **wanted: object) -> dict:
    found = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    assert len(found) == 1, found
    return found[0]


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


# --- Holm and robust aggregates ---------------------------------------------------------------------------------------


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []


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


# --- the rows ---------------------------------------------------------------------------------------------------------


def test_rows_of_the_papers_printed_table() -> None:
    rows = [row for row in statistics.paper_tests() if row["b"] == "gail"]
    continuous, discrete, everything = (only(rows, scope=scope) for scope in ("continuous", "discrete", "all"))
    assert (continuous["n_pairs"], continuous["n_zero"]) == (19, 0)
    assert continuous["p_value"] == pytest.approx(3.8e-6, rel=0.01)
    assert (discrete["n_pairs"], discrete["n_zero"]) == (12, 4)
    assert discrete["p_value"] == pytest.approx(0.7422, abs=1e-4)
    assert everything["n_pairs"] == 31
    assert everything["p_value"] == pytest.approx(6.7e-6, rel=0.01)
    hopper = only(rows, scope="task", task="hopper")
    assert hopper["p_value"] == hopper["min_attainable_p"] == 0.125
    assert hopper["note"].startswith("undecidable with 4 cells")
    acrobot = only(rows, scope="task", task="acrobot")
    assert "ranks favour mgail, the mean difference favours gail" in acrobot["note"]


def test_scopes_pair_seeds_or_cells(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    rows = [
        (algorithm, task, n, seed, generator.normal())
        for algorithm in ("A", "B")
        for task in ("cartpole", "hopper", "other")
        for n in (1, 4)
        for seed in range(7)
    ]
    results = table(tmp_path, rows)
    tests = statistics.tests(results, [("A", "B")])
    frame = pd.DataFrame(rows, columns=["algorithm", "task", "n", "seed", "value"]).set_index("algorithm")
    a, b = frame.loc["A"], frame.loc["B"]

    cell = only(tests, scope="cell", task="hopper", trajectories=4)
    expected = scipy.stats.wilcoxon(*(x[(x.task == "hopper") & (x.n == 4)].value.to_numpy() for x in (a, b)))
    assert (cell["p_value"], cell["statistic"]) == (pytest.approx(expected.pvalue), expected.statistic)
    task = only(tests, scope="task", task="other")
    expected = scipy.stats.wilcoxon(*(x[x.task == "other"].groupby("seed").value.mean().to_numpy() for x in (a, b)))
    assert (task["p_value"], task["n_pairs"]) == (pytest.approx(expected.pvalue), 7)
    pooled = only(tests, scope="all")
    expected = scipy.stats.wilcoxon(*(x.groupby(["task", "n"]).value.mean().to_numpy() for x in (a, b)))
    assert (pooled["p_value"], pooled["n_pairs"], pooled["scale"]) == (pytest.approx(expected.pvalue), 6, "raw")
    assert only(tests, scope="discrete")["n_pairs"] == only(tests, scope="continuous")["n_pairs"] == 2

    cells = [row["p_value"] for row in tests if row["scope"] == "cell"]
    assert [row["p_holm"] for row in tests if row["scope"] == "cell"] == pytest.approx(holm(cells).tolist())
    assert pooled["p_holm"] == pooled["p_value"]
    assert {row["alternative"] for row in tests} == {"two-sided"}


def test_claims_have_one_sided_rows_outside_holm(tmp_path: Path) -> None:
    rows = [
        (name, "hopper", 4, seed, seed + shift)
        for name, shift in (("mgail-advanced", 1.5), ("bc", 0))
        for seed in range(6)
    ]
    tests = statistics.tests(table(tmp_path, rows), [("mgail-advanced", "bc")])
    two, one = (only(tests, scope="cell", alternative=alternative) for alternative in ("two-sided", "greater"))
    assert (two["p_value"], two["statistic"], two["p_holm"]) == (2 / 64, 0.0, 2 / 64)
    assert (one["p_value"], one["statistic"], one["p_holm"]) == (1 / 64, 21.0, None)
    assert one["min_attainable_p"] == 1 / 64


def test_missing_seed_is_paired_around_and_told(tmp_path: Path) -> None:
    rows = [
        (name, "hopper", n, seed, 10.0 * seed + n + (name == "A"))
        for name in "AB"
        for n in (4, 11)
        for seed in range(7)
    ]
    rows.remove(("B", "hopper", 4, 3, 34.0))
    results = table(tmp_path, rows)
    tests = statistics.tests(results, [("A", "B")])
    cell = only(tests, scope="cell", trajectories=4)
    assert (cell["n_pairs"], "B lacks seed 3" in cell["note"]) == (6, True)
    task = only(tests, scope="task")
    assert (task["n_pairs"], task["mean_difference"]) == (7, 1.0)  # seed 3 over the one cell that both have
    assert "not every seed" in task["note"]
    assert [(p.kind, p.where) for p in results.problems] == [("missing", "B, hopper, n=4")]


def test_no_common_seed(tmp_path: Path) -> None:
    results = table(tmp_path, [("A", "hopper", 4, 0, 1.0), ("B", "hopper", 4, 1, 2.0)])
    tests = statistics.tests(results, [("A", "B")])
    cell = only(tests, scope="cell")
    assert (cell["n_pairs"], cell["p_value"], cell["p_holm"]) == (0, None, None)
    assert "no seed in common" in cell["note"]
    assert only(tests, scope="all")["n_pairs"] == 1


def test_opposite_signs_of_ranks_and_mean_are_told(tmp_path: Path) -> None:
    """a wins five of six by little, b the sixth by much."""
    differences = [1.0, 3.0, 4.0, -48.0, 2.0, 5.0]
    rows = [("A", "hopper", 4, seed, 200 + d) for seed, d in enumerate(differences)]
    rows += [("B", "hopper", 4, seed, 200.0) for seed in range(6)]
    for a, b, sign in (("A", "B", 1), ("B", "A", -1)):
        cell = only(statistics.tests(table(tmp_path, rows), [(a, b)]), scope="cell")
        assert (cell["mean_difference"], cell["median_difference"]) == (sign * -5.5, sign * 2.5)
        assert (cell["mean_a"] - cell["mean_b"]) == cell["mean_difference"]
        assert cell["effect_rank_biserial"] == pytest.approx(sign * 9 / 21)
        assert "ranks and means disagree: ranks favour A, the mean difference favours B" in cell["note"]


def test_champions_beat_every_other_method_of_their_cell(tmp_path: Path) -> None:
    def rows(**means: float) -> list[tuple]:
        return [(name, "hopper", 4, seed, mean + seed * 0.1) for name, mean in means.items() for seed in range(7)]

    champions = statistics.champions(table(tmp_path, rows(A=3, B=2, C=1)))
    assert champions == {("A", "hopper", 4): 2 / 2**7}
    assert statistics.champions(table(tmp_path, rows(A=3, B=3, C=1))) == {}  # nobody beats everybody
    assert statistics.champions(table(tmp_path, rows(A=3))) == {}
    beaten_by_a_control = rows(**{"bc": 3, "gail-trpo": 2, "gail-trpo+minus": 4})
    assert set(statistics.champions(table(tmp_path, beaten_by_a_control))) == {("bc", "hopper", 4)}
    alone = [*rows(A=3, B=2), *(("B", "ant", 4, seed, 1.0) for seed in range(7))]
    assert set(statistics.champions(table(tmp_path, alone))) == {("A", "hopper", 4)}


def test_normalised_scale_where_every_cell_has_references(tmp_path: Path) -> None:
    rows = [
        (algorithm, task, 1, seed, 0, value, 100.0 * size, 0.0)
        for task, size in (("hopper", 1), ("humanoid", 100))
        for algorithm, score in (("A", 0.9), ("B", 0.8))
        for seed in range(2)
        for value in [score * 100 * size]
    ]
    columns = ["algorithm", "task", "trajectories", "seed", "episode", "return", "expert", "random"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "t.csv", index=False)
    tests = statistics.tests(read_episodes(tmp_path / "t.csv"), [("A", "B")])
    pooled = only(tests, scope="all")
    assert pooled["scale"] == "normalised"
    assert pooled["shift_hodges_lehmann"] == pytest.approx(0.1)
    assert pooled["w_plus"] == 3.0
    assert only(tests, scope="task", task="humanoid")["scale"] == "raw"


def test_undecidable_after_holm(tmp_path: Path) -> None:
    rows = [(a, f"t{t}", 1, seed, seed * 2.0 + (a == "A")) for a in "AB" for t in range(31) for seed in range(10)]
    tests = statistics.tests(table(tmp_path, rows), [("A", "B")])
    cell = only(tests, scope="cell", task="t0")
    assert cell["p_value"] == cell["min_attainable_p"] == 2 / 2**10
    assert cell["p_holm"] == pytest.approx(31 * 2 / 2**10)
    assert cell["note"].startswith("undecidable with 10 seeds")
    assert statistics.winner(cell) is None
    assert statistics.winner(only(tests, scope="all")) == "A"


def test_which_pairs_are_compared(tmp_path: Path) -> None:
    names = ["zeta", "bc", "mgail-advanced"]
    results = table(tmp_path, [(name, "hopper", 4, 0, 1.0) for name in names])
    pairs = statistics.comparisons(results)
    assert pairs == [("mgail-advanced", "bc"), ("bc", "zeta"), ("mgail-advanced", "zeta")]
    assert statistics.comparisons(results, ["zeta:bc"]) == [("zeta", "bc")]
    for wrong in ("zeta", "zeta:", "zeta:zeta", "zeta:unknown"):
        with pytest.raises(UserError):
            statistics.comparisons(results, [wrong])
