"""Two sets of results, entry by entry: what is paired, what a change did, and from where sets are read."""

import json
import subprocess
from pathlib import Path

import pytest

from analysis import compare
from analysis.compare import Comparison, open_results
from analysis.publish import publish
from bench.cli import main
from bench.errors import UserError


@pytest.fixture
def sets(write_run, tmp_path: Path) -> tuple[Path, Path]:
    """A change that helps mgail-basic on Hopper, leaves one of its cells as it was, and moves nothing else for sure."""
    a, b = tmp_path / "a", tmp_path / "b"
    for seed in range(7):
        for out, gain, horizon in ((a, 0.0, 30), (b, 5.0, 60)):
            write_run("mgail-basic", "hopper", 4, seed, [10.0 + seed + gain] * 50, out=out, horizon=horizon, extra=1)
            write_run("mgail-basic", "hopper", 11, seed, [10.0 + seed] * 50, out=out, horizon=30)
            write_run("bc", "hopper", 4, seed, [20.0 + (-1) ** seed * gain] * 50, out=out)
    write_run("bc", "acrobot", 1, 0, [1.0] * 50, out=a)
    write_run("bc", "hopper", 4, 99, [1.0] * 50, out=b)
    return a, b


def cell(comparison: Comparison, algorithm: str, n: int) -> dict:
    (row,) = [row for row in comparison.cells if (row["algorithm"], row["trajectories"]) == (algorithm, n)]
    return row


def test_what_a_change_did(sets: tuple[Path, Path]) -> None:
    comparison = Comparison.build(*(open_results(str(path)) for path in sets))
    gained = cell(comparison, "mgail-basic", 4)
    assert (gained["mean_a"], gained["mean_b"], gained["mean_difference"]) == (13.0, 18.0, -5.0)
    assert gained["p_value"] == 2 / 2**7
    assert gained["p_holm"] == 2 / 2**7  # the other cell has no test
    assert gained["changed"] == "horizon 30 → 60"
    assert compare.outcome(gained) == "b better"
    same = cell(comparison, "mgail-basic", 11)
    assert (same["n_identical"], same["n_pairs"], compare.outcome(same)) == (7, 7, "identical")
    cloned = cell(comparison, "bc", 4)
    assert (cloned["n_identical"], cloned["n_pairs"], compare.outcome(cloned)) == (0, 7, "undecided")
    assert "a lacks seed 99" in cloned["note"]
    (pooled,) = [row for row in comparison.tests if (row["algorithm"], row["scope"]) == ("bc", "all")]
    assert (pooled["mean_a"], pooled["mean_b"]) == (0.2, pytest.approx(0.2 + 5 / 7 / 100))  # of the seven common seeds
    assert (comparison.only_a, comparison.only_b) == ([("bc", "acrobot", 1)], [])
    text = "\n".join(comparison.conclusions())
    assert "MGAIL basic: 1 b better, 1 identical" in text
    assert "Only in A: bc, acrobot, n=1." in text


def test_equal_means_of_other_episodes_are_not_identical(write_run, tmp_path: Path) -> None:
    for out, returns in (("a", [1.0, 3.0]), ("b", [3.0, 1.0])):
        write_run("bc", "hopper", 4, 0, returns * 25, out=tmp_path / out)
    comparison = Comparison.build(*(open_results(str(tmp_path / name)) for name in "ab"))
    assert [compare.outcome(row) for row in comparison.cells] == ["equal"]


def test_two_algorithms_are_compared_where_each_set_holds_one(write_run, tmp_path: Path) -> None:
    for name in ("bc", "gail-trpo"):
        for seed in range(2):
            write_run(name, "hopper", 4, seed, [float(len(name))] * 50)
    a, b = (open_results(str(tmp_path / "runs" / name)) for name in ("bc", "gail-trpo"))
    (row,) = Comparison.build(a, b).cells
    assert (row["algorithm"], row["mean_difference"]) == ("bc − gail-trpo", -7.0)
    write_run("gail-trpo", "hopper", 4, 5, [1.0] * 50, out=tmp_path / "other")
    other = open_results(str(tmp_path / "other"))
    with pytest.raises(UserError, match="no run in common"):
        Comparison.build(a, other)


def test_sets_are_runs_results_tables_or_commits(
    sets: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    publish([sets[0]], project / "results")
    git = ["git", "-C", str(project), "-c", "user.name=n", "-c", "user.email=e"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"], ["tag", "before"]):
        subprocess.run([*git, *words], check=True)
    publish([sets[1]], project / "results")
    monkeypatch.setattr(compare, "RESULTS", project / "results")
    before = open_results("before")
    assert before.source.startswith("results of commit ")
    comparison = Comparison.build(before, open_results(str(project / "results")))
    assert cell(comparison, "mgail-basic", 4)["changed"] == "horizon 30 → 60"
    assert cell(comparison, "bc", 4)["n_pairs"] == 7
    with pytest.raises(UserError, match="nowhere is no folder of runs or results"):
        open_results("nowhere")
    subprocess.run([*git, "rm", "-q", "--cached", "results/runs.csv"], check=True)
    subprocess.run([*git, "commit", "-qm", "without"], check=True)
    with pytest.raises(UserError, match=r"commit HEAD holds no results/runs\.csv"):
        open_results("HEAD")


def test_every_format_has_the_numbers(sets: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["compare", *map(str, sets)]
    texts = {}
    for kind in ("md", "csv", "tex", "html", "json"):
        assert main([*words, "--format", kind]) == 0
        texts[kind] = capsys.readouterr().out
    rows = json.loads(texts["json"])["tests"]
    assert [row["scope"] for row in rows].count("cell") == 3
    for kind in ("md", "tex", "html"):
        assert "13.00" in texts[kind]
        assert "18.00" in texts[kind]
    assert texts["csv"].count("\n") == len(rows) + 1
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert max(len(line) for line in shown.splitlines()) <= 120
    assert "mgail-basic, Hopper, n=4: horizon 30 → 60" in shown
