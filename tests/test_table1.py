"""Entries of Table 1 worked by hand, and the agreement of every format."""

import json
from pathlib import Path

import numpy as np
import pytest

from analysis import figure5, main, tables
from analysis.document import Document
from analysis.forecast import Forecast, forecast
from analysis.foreign import read_episodes
from analysis.markup import Column, Grid, Text, latex, markdown, tex_escape
from analysis.records import read_runs
from analysis.table1 import command, entries
from analysis.wording import number
from bench.costs import relative_cost
from bench.errors import UserError
from bench.paper import EXPERT_RETURNS, printed
from bench.tasks import TASKS

CONTRACT = {
    *("task", "algorithm", "trajectories", "n_seeds", "mean", "std_seeds", "std_episodes", "normalised"),
    *("paper_mean", "paper_std", "env_steps", "core_s", "verdict"),
}


def entry(rows: list[dict], algorithm: str, task: str, n: int) -> dict:
    found = [row for row in rows if (row["algorithm"], row["task"], row["trajectories"]) == (algorithm, task, n)]
    assert len(found) == 1
    return found[0]


@pytest.fixture
def document(write_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Document:
    """Hopper with three methods and seven seeds, such that mgail-advanced wins and bc is poor; acrobot with one run.

    Nothing is committed, whose costs would be known, too.
    """
    monkeypatch.setattr("analysis.load.RESULTS", tmp_path / "committed")
    generator = np.random.default_rng(0)
    for algorithm, score in (("bc", 0.3), ("gail-trpo", 0.9), ("mgail-advanced", 1.1)):
        for seed in range(7):
            returns = 3600 * (score + 0.01 * generator.normal(size=50))
            write_run(algorithm, "hopper", 4, seed, returns.tolist(), references=(3600.0, 20.0), curve=[1, 2])
    write_run("bc", "acrobot", 1, 0, [-80.0] * 50, references=(-78.0, -196.0))
    return Document.build(read_runs([tmp_path / "runs"]))


def test_numbers_by_hand(write_run, tmp_path: Path) -> None:
    write_run("gail-trpo", "hopper", 4, 0, [80.0, 100.0], references=(110.0, 10.0), env_steps=5_000_000)
    write_run("gail-trpo", "hopper", 4, 1, [50.0, 50.0], references=(110.0, 10.0), env_steps=7_500_000)
    row = entry(entries(read_runs([tmp_path / "runs"])), "gail-trpo", "hopper", 4)
    assert row["n_seeds"] == 2
    assert row["n_episodes"] == 4
    assert row["mean"] == 70.0
    assert row["std_seeds"] == pytest.approx(np.sqrt(2) * 20)  # means 90 and 50, ddof 1
    assert row["std_episodes"] == pytest.approx(np.std([80, 100, 50, 50]))  # ddof 0
    assert row["normalised"] == pytest.approx(0.6)
    assert (row["env_steps"], row["core_s"]) == (6_250_000, 1.5)
    assert row["budget"] == 0.25  # of 500 iterations x 50,000 steps
    paper = printed("hopper", 4, "gail-trpo")
    assert (row["paper_mean"], row["paper_std"]) == (paper.mean, paper.std)
    assert row["paper_normalised"] == pytest.approx((paper.mean - 10) / (EXPERT_RETURNS["hopper"] - 10))
    assert row["verdict"] == "undecided"  # two seeds cannot decide
    assert row["bold"] is False


def test_one_seed_has_no_spread_over_seeds(document: Document) -> None:
    row = entry(document.cells, "bc", "acrobot", 1)
    assert (row["n_seeds"], row["std_seeds"], row["std_episodes"]) == (1, None, 0.0)


def test_every_entry_of_table_1_is_there_run_or_not(document: Document) -> None:
    assert len(document.cells) == 155
    row = entry(document.cells, "mgail-basic", "humanoid", 240)
    assert row["n_seeds"] == 0
    assert row["paper_mean"] is None
    for key in ("mean", "std_seeds", "std_episodes", "normalised", "env_steps", "core_s", "verdict"):
        assert row[key] is None
    assert row["command"] == command(["mgail-basic"], ["humanoid"], [240])
    assert entry(document.cells, "gail-trpo", "humanoid", 240)["paper_mean"] == 10361.94


def test_forecast_takes_the_cost_of_the_same_method_and_task_else_of_its_family(document: Document) -> None:
    known = entry(document.cells, "bc", "hopper", 11)
    assert (known["forecast_core_s"], known["forecast_basis"]) == (11 * 4.0, "measured")  # core_s are 1 + seed
    guess = entry(document.cells, "bc", "ant", 4)
    assert guess["forecast_core_s"] == pytest.approx(
        11 * 4.0 * relative_cost("bc", "ant") / relative_cost("bc", "hopper")
    )
    assert guess["forecast_basis"] == "guessed"
    for row in document.cells:
        assert (row["command"] is None) == (row["n_seeds"] > 0) == (row["forecast_core_s"] is None)
    untouched = ["cartpole", "mountaincar", "walker2d", "halfcheetah", "ant", "humanoid"]
    hours = sum(row["forecast_core_s"] for row in document.cells if row["task"] in untouched) / 3600
    line = f"`bench run --table1 --preset full --tasks {','.join(untouched)}` (roughly {hours:,.1f} core-hours)"
    assert line in document.text(["table1"], "md").split("## Not run")[1]


def test_no_cost_known_at_all_is_no_forecast() -> None:
    assert forecast("bc", "hopper", {}) is None
    assert forecast("mgail-basic", "acrobot", {("bc", "hopper"): 5.0}).basis == "guessed"
    assert forecast("bc", "hopper", {("bc", "hopper"): 5.0}) == Forecast(55.0, "measured")


def test_verdicts_compare_fractions_of_the_expert(document: Document) -> None:
    assert entry(document.cells, "mgail-advanced", "hopper", 4)["verdict"] == "better"  # 1.1 against 1.03
    assert entry(document.cells, "gail-trpo", "hopper", 4)["verdict"] == "worse"  # 0.9 against 1.01
    row = entry(document.cells, "bc", "hopper", 4)
    assert row["verdict"] == "better"
    assert row["verdict_p"] == pytest.approx(2 * 2 / 2**7)  # Holm over bc's two entries
    assert entry(document.cells, "bc", "acrobot", 1)["verdict"] == "undecided"


def test_boldface_needs_a_significant_win_over_every_rival(document: Document, write_run, tmp_path: Path) -> None:
    bold = {(row["algorithm"], row["task"]) for row in document.cells if row["bold"]}
    assert bold == {("mgail-advanced", "hopper")}
    for seed in range(7):  # a new rival, whose seeds go both ways
        returns = [3950.0 + 20 * (-1) ** seed * (seed + 1)] * 50
        write_run("mgail-basic", "hopper", 4, seed, returns, references=(3600.0, 20.0))
    assert not any(row["bold"] for row in Document.build(read_runs([tmp_path / "runs"])).cells)


def test_reward_form_and_settings_stand_below_the_table(write_run, tmp_path: Path) -> None:
    write_run("gail-trpo", "hopper", 4, 0, [1.0] * 50, init="bc", average=0.5)
    text = Document.build(read_runs([tmp_path / "runs"])).text(["table1"], "md")
    assert "pays for staying alive (CartPole, Hopper" in text
    assert "GAIL-TRPO: init=bc, average=0.5" in text


def test_foreign_table_lists_its_own_product_of_algorithms_and_cells(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    path.write_text("algorithm,task,trajectories,seed,episode,return\nX,maze,3,0,0,1\nY,maze,3,0,0,2\nX,lake,1,0,0,5\n")
    document = Document.build(read_episodes(path))
    assert [(r["task"], r["algorithm"], r["n_seeds"]) for r in document.cells] == [
        *(("lake", "X", 1), ("lake", "Y", 0), ("maze", "X", 1), ("maze", "Y", 1))
    ]
    assert {row["command"] for row in document.cells} == {None}
    assert document.paper == []


# --- formats ----------------------------------------------------------------------------------------------------------


def test_every_number_stands_in_its_column(document: Document) -> None:
    """That all formats set the same table is the matter of test_formats.py."""
    assert all(set(row) >= CONTRACT for row in document.cells)
    grid = tables.entries_grid(document.cells)
    columns = {
        **{"mean": ("mean", 2), "± seeds": ("std_seeds", 2), "± episodes": ("std_episodes", 2)},
        **{"normalised": ("normalised", 3), "to mean action": ("normalised_deterministic", 3)},
        **{"paper": ("paper_mean", 2), "± paper": ("paper_std", 2), "paper, normalised": ("paper_normalised", 3)},
    }
    headers = [column.header for column in grid.columns]
    for row, fields in zip(document.cells, grid.rows, strict=True):
        shown = dict(zip(headers, fields, strict=True))
        assert (shown["task"], shown["n"]) == (TASKS[row["task"]].title, str(row["trajectories"]))
        for header, (key, digits) in columns.items():
            assert shown[header] == number(row[key], digits), (header, row)


def test_json_has_no_number_that_json_lacks(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("algorithm,task,trajectories,seed,episode,return\nX,maze,3,0,0,1\n")
    text = Document.build(read_episodes(path)).text(["table1", "wilcoxon", "figure5"], "json")
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert content["tests"] == []
    assert content["cells"][0]["std_seeds"] is None


def test_terminal_fits_120_columns(document: Document, capsys: pytest.CaptureFixture[str]) -> None:
    document.show(["table1", "wilcoxon"])
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if "bench run" not in line) <= 120
    assert any("not run" in line and "Humanoid" in line for line in lines)


def test_markup() -> None:
    grid = Grid([Column("a_b", "left"), Column("x")], [["p|q", Text("5 % ±1", bold=True, second="paper")]])
    assert markdown(grid) == "| a_b | x |\n| :-- | --: |\n| p\\|q | **5 % ±1**<br>paper |\n"
    tex = latex(grid, "Ours & theirs", "tab:x", ["`100 %`"])
    assert r"a\_b & x \\" in tex
    assert r"\textbf{5 \% $\pm$1}" in tex
    assert r"\caption{Ours \& theirs}" in tex
    assert tex.count("{") == tex.count("}")
    assert tex_escape("a\\b^c~") == r"a\textbackslash{}b\textasciicircum{}c\textasciitilde{}"


def test_number() -> None:
    assert [number(value) for value in (1234.567, -0.5, -0.001, 0.0, None)] == [
        "1,234.57",
        "−0.50",
        "0.00",
        "0.00",
        "–",
    ]


# --- the command ------------------------------------------------------------------------------------------------------


def test_analyze_prints_json_alone(document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.analyze(runs=[tmp_path / "runs"], output_format="json") == 0
    content = json.loads(capsys.readouterr().out)
    assert {"cells", "tests", "curves", "problems"} <= set(content)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


def test_analyze_says_what_it_reads(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main.analyze(parts=["table1"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("Read runs: 22 finished runs")
    assert sorted(path.name for path in (tmp_path / "table1").iterdir()) == [
        f"table1.{kind}" for kind in ("csv", "html", "json", "md", "tex")
    ]


def test_analyze_without_runs_reads_the_committed_results(
    document: Document, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis import load
    from analysis.publish import publish

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setattr(load, "RESULTS", tmp_path / "results")
    with pytest.raises(UserError, match="bench run --table1"):
        main.analyze()
    publish([tmp_path / "runs"], tmp_path / "results")
    main.analyze(parts=["wilcoxon"])
    assert "committed results" in capsys.readouterr().out.splitlines()[0]


@pytest.mark.parametrize(
    ("full", "words"), [(0, "all smoke runs, which are no results"), (1, "1 of 2 smoke runs, which are no results")]
)
def test_smoke_runs_are_called_that_in_the_first_line_and_every_heading(
    write_run, tmp_path: Path, capsys: pytest.CaptureFixture[str], full: int, words: str
) -> None:
    write_run("mgail-basic", "hopper", 4, 0, [1.0] * 5, curve=[1, 2])
    write_run("mgail-basic", "hopper", 4, 1, [1.0] * (50 if full else 5), curve=[1, 2])
    assert main.analyze(runs=[tmp_path / "runs"], out=tmp_path / "out") == 0
    first, heading, *_ = capsys.readouterr().out.splitlines()
    assert first.endswith(f": 2 finished runs, preset unknown ({words})")
    assert heading.strip() == f"Table 1 ({words})"
    for name in ("table1.md", "table1.html", "table1.tex", "wilcoxon.md", "wilcoxon.html"):
        assert f"({words})" in (tmp_path / "out" / name).read_text()
    found = read_runs([tmp_path / "runs"])
    assert any(words in text.get_text() for text in figure5.draw(found, figure5.curves(found)).texts)


def test_the_first_line_tells_the_presets(write_run, tmp_path: Path) -> None:
    for seed, preset in enumerate(["full", "quick", "full"]):
        path = write_run("bc", "hopper", 4, seed, [1.0] * 50) / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"preset": preset}))
    assert read_runs([tmp_path / "runs"]).source.endswith(": 3 finished runs, presets 2 full, 1 quick")
    assert read_runs([tmp_path / "runs/bc/hopper/n4/seed1"]).source.endswith(": 1 finished run, preset quick")
    assert read_runs([tmp_path / "runs"]).caution == ""


def test_figure_alone_of_a_foreign_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("algorithm,task,trajectories,seed,episode,return\nX,maze,3,0,0,1\n")
    with pytest.raises(UserError, match="no learning curves"):
        main.analyze(parts=["figure5"], episodes=path)


def test_unwritable_folder_is_one_line(document: Document, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        main.analyze(parts=["table1"], runs=[tmp_path / "runs"], out=tmp_path / "file" / "below")
