"""Loading from every source, and what is listed instead of averaged."""

import gzip
import json
from pathlib import Path

import pandas as pd
import pytest

from analysis.foreign import read_episodes
from analysis.load import RUN
from analysis.records import read_runs
from bench.errors import UserError
from bench.frame import load

HEADER = "algorithm,task,trajectories,seed,episode,return\n"


def kinds(results) -> list[tuple[str, str]]:
    return [(problem.kind, problem.what) for problem in results.problems]


# --- run folders ------------------------------------------------------------------------------------------------------


def test_reads_what_bench_load_reads(runs: Path) -> None:
    ours, theirs = read_runs([runs]).episodes, load(runs)
    columns = [*RUN, "episode", "return", "length", "terminated"]
    theirs = theirs[columns].sort_values([*RUN, "episode"], ignore_index=True)
    pd.testing.assert_frame_equal(ours[columns], theirs, check_exact=True)


def test_curves_hold_every_evaluation(runs: Path) -> None:
    curve = read_runs([runs]).curves.groupby(RUN).get_group(("mgail-basic", "hopper", 4, 0))
    assert curve["n"].tolist() == [2, 2, 50]
    assert curve["mean"].tolist()[:2] == pytest.approx([1.5, 2 / 3])
    assert curve["std"].tolist()[:2] == pytest.approx([0.5, 0.5])


def test_label_makes_a_method_of_its_own(write_run, tmp_path: Path) -> None:
    write_run("bc", "hopper", 4, 0, [1.0] * 50)
    write_run("bc", "hopper", 4, 0, [2.0] * 50, label="long")
    assert read_runs([tmp_path / "runs"]).algorithms == ["bc", "bc+long"]


def test_unfinished_and_failed_runs_are_listed(runs: Path) -> None:
    (runs / "mgail-basic/hopper/n4/seed0/result.json").unlink()
    failed = runs / "mgail-basic/hopper/n4/seed1"
    (failed / "result.json").unlink()
    (failed / "error.txt").write_text("Traceback")
    results = read_runs([runs])
    assert len(results.runs) == 4
    assert [kind for kind, _ in kinds(results)] == ["failed", "missing", "unfinished"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("evaluations.csv", lambda text: text[:-3]),
        ("evaluations.csv", lambda text: text.replace(",50,", ",5O,", 1).replace("\n3,1000,0,", "\n3,1000,zero,")),
        ("evaluations.csv", lambda text: "\n".join(text.splitlines()[:-1]) + "\n"),
        (
            "evaluations.csv",
            lambda text: text.replace("3,1000,1,1000001,", "3,1000,1,1000001,nan;", 1).replace("nan;", "nan,", 1),
        ),
        ("evaluations.csv", lambda text: text.replace("\n3,1000,7,1000007,", "\n3,1000,7,1000007,1", 1)),
        ("evaluations.csv", lambda text: text.replace("return", "reward")),
        ("evaluations.csv", lambda text: ""),
        ("result.json", lambda text: text[:-5]),
        ("result.json", lambda text: text.replace('"core_s"', '"cores"')),
        ("result.json", lambda text: text.replace('"schema": 1', '"schema": 9')),
        ("config.json", lambda text: "[]"),
        ("config.json", lambda text: text.replace('"seed": 2', '"seed": 1')),
    ],
)
def test_corrupt_run_is_left_out_and_listed(runs: Path, name: str, damage) -> None:
    path = runs / "mgail-basic/hopper/n4/seed2" / name
    before = path.read_text()
    path.write_text(damage(before))
    assert path.read_text() != before
    results = read_runs([runs])
    assert len(results.runs) == 5
    assert len(results.episodes) == 250
    assert [kind for kind, _ in kinds(results)] == ["corrupt", "missing"]


def test_first_of_two_folders_counts_and_the_other_is_listed(runs: Path, write_run, tmp_path: Path) -> None:
    write_run("mgail-basic", "hopper", 4, 0, [1.0] * 50, out=tmp_path / "again")
    first, second = read_runs([runs, tmp_path / "again"]), read_runs([tmp_path / "again", runs])
    for results in (first, second):
        assert len(results.runs) == 6
        assert [kind for kind, _ in kinds(results)] == ["duplicate"]
    assert second.episodes["return"].min() == 1.0 < first.episodes["return"].min()
    assert kinds(read_runs([runs, runs])) == []


def test_uneven_entries_are_listed(write_run, tmp_path: Path) -> None:
    write_run("bc", "hopper", 4, 0, [1.0] * 50, width=100)
    write_run("bc", "hopper", 4, 1, [1.0] * 5, width=50, references=(90.0, 0.0))
    found = dict(kinds(read_runs([tmp_path / "runs"])))
    assert set(found) == {"mixed", "unequal"}
    whats = [what for _, what in kinds(read_runs([tmp_path / "runs"]))]
    assert "seed 0 and seed 1 have different settings" in whats
    assert any("different expert" in what for what in whats)
    assert any("smoke run" in what for what in whats)


def test_runs_that_play_other_starts_are_listed(write_run, tmp_path: Path) -> None:
    """Those of seeds for tuning, which no table is made of, and those whose record says so."""
    write_run("bc", "hopper", 4, 0, [1.0] * 50)
    write_run("bc", "hopper", 4, 1000, [1.0] * 50)
    path = write_run("bc", "hopper", 4, 1, [1.0] * 50) / "evaluations.csv"
    path.write_text(path.read_text().replace(",10000", ",10770"))
    results = read_runs([tmp_path / "runs"])
    assert kinds(results) == [
        ("tuning", "a seed for tuning, which played other starts: its run is no result"),
        ("unequal", "evaluated from start 1,077,000 on, not 1,000,000"),
    ]
    assert {problem.entry for problem in results.problems} == {("bc", "hopper", 4)}
    assert results.caution == " (1 of 3 tuning runs, which are no results)"


def test_what_is_left_of_a_run_without_its_config_is_listed(runs: Path) -> None:
    folder = runs / "mgail-basic/hopper/n4/seed2"
    (folder / "config.json").unlink()
    problems = read_runs([runs]).problems
    assert [(p.kind, p.where) for p in problems][:1] == [("corrupt", str(folder))]
    assert problems[0].what == "no config.json beside evaluations.csv, result.json"


def test_runs_of_another_version_of_a_users_method_are_mixed(write_run, tmp_path: Path) -> None:
    for seed in range(2):
        path = write_run("Mine", "hopper", 4, seed, [1.0] * 50) / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"source": f"digest {seed}"}))
    results = read_runs([tmp_path / "runs"])
    assert kinds(results) == [("mixed", "seed 0 and seed 1 have different settings")]
    assert {settings["source"] for settings in results.settings.values()} == {"digest 0", "digest 1"}


def test_no_finished_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_runs([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="no finished run"):
        read_runs([tmp_path])


# --- a tidy table -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b" \n \n", "is empty"),
        (HEADER.encode(), "no rows"),
        (b"\x00\x01\x02\xff" * 50, "neither text"),
        (b"PK\x03\x04\x00\x00abc", "neither text"),
        (gzip.compress(HEADER.encode(), mtime=0)[:-9], "neither text"),
        (b"algorithm,task,seed,episode,return\nA,t,0,0,1\n", "lacks the column trajectories"),
        (b"algorithm,task,trajectories,seed,episode,return,return\nA,t,1,0,0,1,2\n", "more than one column return"),
        (HEADER.encode() + b"A,t,1,0,0,1\nA,t,1,0,1,nan\n", r"line 3: return is 'nan', not a finite number"),
        (HEADER.encode() + b"A,t,1,0,0,\n", "line 2: return is ''"),
        (HEADER.encode() + b"A,t,1,0,0,inf\n", "line 2: return"),
        (HEADER.encode() + b"A,t,1,0,0,high\nA,t,1,0,1,low\n", "1 more such line"),
        (HEADER.encode() + b"A,t,1,0.5,0,1\n", "line 2: seed is '0.5', not a whole number"),
        (HEADER.encode() + b"A,t,-1,0,0,1\n", "line 2: trajectories"),
        (HEADER.encode() + b",t,1,0,0,1\n", "line 2: algorithm is '', not a name"),
        (HEADER.encode() + b"A,t,1,0,0,1,2,3\nA,t,1,0,0\n", "more fields than the header"),
        (HEADER.encode() + b"A,t,1,0,0,1\nA,t,1,0,0,2\n", "nothing is left"),
    ],
)
def test_bad_table_is_one_clear_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as raised:
        read_episodes(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)


def test_missing_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read"):
        read_episodes(tmp_path / "table.csv")


def test_table_plain_gzipped_shuffled_and_with_more_columns(tmp_path: Path) -> None:
    rows = [
        f"None,NA,{n},{seed},{episode},{value!r}\n"
        for n in (1, 2)
        for seed in (0, 1)
        for episode, value in enumerate((0.1, 1 / 3))
    ]
    (tmp_path / "a.csv").write_text(HEADER + "".join(rows) + "\n\n")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress((HEADER + "".join(rows[::-1])).encode()))
    (tmp_path / "c.csv").write_text("\ufeffwhat," + HEADER + "".join("x," + row for row in rows))
    first, *others = (read_episodes(tmp_path / name) for name in ("a.csv", "b.csv.gz", "c.csv"))
    assert first.algorithms == ["None"]
    assert first.episodes["return"].tolist() == [0.1, 1 / 3] * 4
    for other in others:
        pd.testing.assert_frame_equal(first.episodes, other.episodes, check_exact=True)
        assert other.problems == ()


def test_doubled_rows_count_once_and_contradictions_leave_the_run_out(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        HEADER + "A,t,1,0,0,1\nA,t,1,0,1,3\nA,t,1,0,1,3\nA,t,1,1,0,5\nA,t,1,1,0,6\nA,t,1,2,0,7\nA,t,1,2,2,7\n"
    )
    results = read_episodes(path)
    assert results.episodes["return"].tolist() == [1, 3, 7, 7]
    assert [(p.kind, p.where) for p in results.problems] == [
        ("duplicate", "A, t, n=1, seed 0"),
        ("duplicate", "A, t, n=1, seed 1"),
        ("missing", "A, t, n=1, seed 2"),
    ]


def test_table_of_bench_load_keeps_references_and_costs(runs: Path, tmp_path: Path) -> None:
    load(runs).to_csv(tmp_path / "t.csv", index=False)
    theirs, ours = read_episodes(tmp_path / "t.csv"), read_runs([runs])
    for column in ("expert", "random", "env_steps", "core_s"):
        assert theirs.runs[column].tolist() == ours.runs[column].tolist()
