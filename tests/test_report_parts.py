"""What the report's page is put together from: lines, points, looks and sentences, worked out by hand."""

from pathlib import Path

import pytest

from analysis.document import Document
from analysis.records import read_runs
from analysis.report import charts, series
from analysis.report.looks import SLOTS, Methods
from analysis.report.words import comparisons


def test_curves_are_means_over_seeds_at_their_own_evaluations(write_run, tmp_path: Path) -> None:
    for seed, low in enumerate((10.0, 30.0)):
        write_run("mgail-basic", "hopper", 4, seed, [low + 40] * 50, curve=[low, low + 20])
    write_run("bc", "hopper", 4, 0, [25.0] * 50, curve=[1.0], env_steps=0)
    cloned, learned = series.learning_curves(read_runs([tmp_path / "runs"]))
    assert (learned["algorithm"], learned["n_seeds"]) == ("mgail-basic", 2)
    assert learned["env_steps"] == [0, 500, 1000]
    assert learned["mean"] == [20, 40, 60]
    assert [(low, high) for low, high in zip(learned["low"], learned["high"], strict=True)] == [
        (10, 30),
        (30, 50),
        (50, 70),
    ]
    assert (cloned["env_steps"], cloned["mean"]) == ([0], [25])
    points = charts.curve_rows([cloned, learned], [4], Methods(["bc", "mgail-basic"]), {"expert": 120, "random": 20})
    assert [point["steps"] for point in points if point["method"] == "BC"] == [0, 500, 1000]
    assert [point["score"] for point in points if point["method"] == "MGAIL basic"] == [0, 0.2, 0.4]


def test_final_scores_have_intervals_over_seeds_on_both_scales(write_run, tmp_path: Path) -> None:
    for seed, value in enumerate((40.0, 60.0)):
        write_run("gail-trpo", "hopper", 4, seed, [value] * 50, references=(120.0, 20.0))
    write_run("bc", "hopper", 4, 0, [45.0] * 50, references=(120.0, 20.0))
    cloned, learned = series.final_scores(read_runs([tmp_path / "runs"]))
    assert [learned[key] for key in ("return", "return_low", "return_high")] == [50, 40, 60]
    assert [learned[key] for key in ("score", "score_low", "score_high")] == pytest.approx([0.3, 0.2, 0.4])
    assert [cloned[key] for key in ("n_seeds", "score", "score_low", "score_high")] == [1, 0.25, 0.25, 0.25]


def test_ours_look_alike_in_every_report_and_many_others_find_a_place() -> None:
    assert Methods(["gail-trpo"]).slot("gail-trpo") == Methods(["bc", "bc+long", "gail-trpo"]).slot("gail-trpo") == 3
    assert Methods(["bc", "bc+long", "gail-trpo"]).slot("bc+long") == 6
    foreign = Methods([f"m{i}" for i in range(20)])
    assert [foreign.slot(name) for name in foreign.names[:SLOTS]] == list(range(1, SLOTS + 1))
    assert {foreign.slot(name) for name in foreign.names} == set(range(1, SLOTS + 1))


def test_words_name_the_winner_and_the_size(write_run, tmp_path: Path) -> None:
    better = [float(value) for value in range(60, 71)]
    worse = [value - 20 - value / 10 for value in better]
    for algorithm, returns in (("mgail-advanced", worse), ("gail-trpo", better)):
        for seed, value in enumerate(returns):
            write_run(algorithm, "hopper", 4, seed, [value] * 50)
    document = Document.build(read_runs([tmp_path / "runs"]))
    (told,) = comparisons(document.tests, document.improvements)
    assert (told.a, told.b, told.outcome) == ("mgail-advanced", "gail-trpo", "undecidable")  # one cell decides nothing
    assert "even 1 cell of one sign could not give less" in told.sentences[0]
    assert any(
        line.endswith("MGAIL advanced better in 0, GAIL-TRPO in 1, undecided 0 of 1 (GAIL-TRPO on Hopper).")
        for line in told.sentences
    )
    assert "beats one of GAIL-TRPO on the same cell 0 times in 100" in told.sentences[0]
