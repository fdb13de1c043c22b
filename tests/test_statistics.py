"""Which tests are done on which pairs, and what their rows say."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from analysis import statistics
from analysis.aggregates import aggregates
from analysis.foreign import read_episodes
from analysis.load import Results
from analysis.records import read_runs
from analysis.wilcoxon import holm
from bench.errors import UserError


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


def test_controls_are_neither_rivals_nor_aggregated(write_run, tmp_path: Path) -> None:
    """A few seeds do for a control: none is missing from it, and it makes none be missing from a method."""
    for seed in range(2):
        write_run("gail-trpo", "hopper", 4, seed, [90.0] * 50)
    for seed in (0, 5):
        write_run("gail-trpo", "hopper", 4, seed, [60.0] * 50, label="plus")
    write_run("gail-trpo", "hopper", 4, 0, [80.0] * 50, label="long")
    results = read_runs([tmp_path / "runs"])
    assert [(p.kind, p.where) for p in results.problems] == [("missing", "gail-trpo+long, hopper, n=4")]
    assert {row["algorithm"] for row in aggregates(results)} == {"gail-trpo", "gail-trpo+long"}
