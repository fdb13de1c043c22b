"""Publishing runs: what is written, replaced, kept and refused."""

import errno
import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from analysis import committed
from analysis.load import RESULTS, RUN
from analysis.publish import publish, render
from analysis.records import read_runs
from bench.errors import UserError


def kinds(results) -> list[tuple[str, str]]:
    return [(problem.kind, problem.what) for problem in results.problems]


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_published_results_are_the_runs(runs: Path, tmp_path: Path) -> None:
    out, _ = publish([runs], tmp_path / "results")
    before, after = read_runs([runs]), committed.read_results(out)
    for name in ("episodes", "runs", "curves"):
        pd.testing.assert_frame_equal(getattr(before, name), getattr(after, name), check_exact=True, check_dtype=False)
    assert after.problems == ()
    assert after.settings == before.settings
    assert {path.name for path in out.iterdir()} >= {"table1.md", "wilcoxon.json", "figure5.png", "figure5.pdf"}


def test_publishing_and_rendering_again_gives_the_same_bytes(runs: Path, tmp_path: Path) -> None:
    out, _ = publish([runs], tmp_path / "results")
    first = contents(out)
    render(out)
    assert contents(out) == first
    publish([runs], out)
    assert contents(out) == first
    copy = tmp_path / "copy"
    publish([runs], copy)
    assert contents(copy) == first


def test_publishing_replaces_the_same_runs_and_keeps_the_others(runs: Path, write_run, tmp_path: Path) -> None:
    out, _ = publish([runs], tmp_path / "results")
    write_run("mgail-basic", "hopper", 4, 1, [7.0] * 50, out=tmp_path / "new")
    write_run("bc", "hopper", 4, 0, [8.0] * 50, out=tmp_path / "new")
    _, results = publish([tmp_path / "new"], out)
    assert len(results.runs) == 7
    means = committed.read_results(out).episodes.groupby(RUN)["return"].mean()
    assert means["mgail-basic", "hopper", 4, 1] == 7.0
    assert means["bc", "hopper", 4, 0] == 8.0
    before = read_runs([runs]).episodes.groupby(RUN)["return"].mean()
    assert means["mgail-basic", "hopper", 4, 2] == before["mgail-basic", "hopper", 4, 2]


def test_provenance_tells_settings_versions_and_digests(runs: Path, tmp_path: Path) -> None:
    out, _ = publish([runs], tmp_path / "results")
    provenance = json.loads((out / "provenance.json").read_text())
    assert provenance["versions"] == [{"numpy": "2"}]
    assert provenance["commits"] == ["c0"]
    assert list(provenance["settings"].values()) == [{}]
    path = out / "runs.csv"
    path.write_text(path.read_text().replace("1000", "1001", 1))
    assert kinds(committed.read_results(out)) == [("corrupt", "was changed since `bench publish` wrote it")]
    before = contents(out)
    with pytest.raises(UserError, match=r"runs\.csv was changed since `bench publish` wrote it: take it back"):
        publish([runs], out)
    assert contents(out) == before


def test_smoke_runs_are_not_published(runs: Path, write_run, tmp_path: Path) -> None:
    write_run("bc", "hopper", 4, 0, [1.0] * 5)
    out, results = publish([runs], tmp_path / "results")
    assert results.algorithms == ["mgail-basic", "mgail-advanced"]
    write_run("bc", "hopper", 4, 1000, [1.0] * 50)
    out, results = publish([runs], out)
    assert results.algorithms == ["mgail-basic", "mgail-advanced"]
    (left_out,) = [str(problem) for problem in results.problems if problem.what == "not published"]
    assert "1 smoke run, evaluated on fewer than 50 episodes; 1 tuning run" in left_out
    with pytest.raises(UserError, match="nothing to publish"):
        publish([runs / "bc"], out)


def test_runs_of_seeds_for_tuning_have_a_folder_of_their_own(runs: Path, write_run, tmp_path: Path) -> None:
    for seed in (1000, 1001):
        write_run("mgail-basic", "hopper", 4, seed, [1.0] * 50, curve=[1.5, 2 / 3])
    out, results = publish([runs], tmp_path / "ablations", tuning=True)
    assert results.runs["seed"].tolist() == [1000, 1001]
    assert "6 other runs, of seeds that are not for tuning" in str(results.problems[-1])
    before = contents(out)
    assert {name.partition(".")[0] for name in before} == {"episodes", "runs", "curves", "provenance", "interactions"}
    render(out)
    assert contents(out) == before
    with pytest.raises(UserError, match="holds runs of seeds for tuning, which results do not belong to"):
        publish([runs], out)
    publish([runs], tmp_path / "results")
    with pytest.raises(UserError, match="holds results, which runs of seeds for tuning do not belong to"):
        publish([runs], tmp_path / "results", tuning=True)
    with pytest.raises(UserError, match="a folder of their own"):
        publish([runs], RESULTS, tuning=True)
    assert contents(out) == before


def test_full_disk_leaves_everything_as_it_was(
    runs: Path, write_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, _ = publish([runs], tmp_path / "results")
    before = contents(out)
    write = Path.write_bytes

    def fill(path: Path, content: bytes) -> int:
        if path.name.startswith("table1.tex"):
            write(path, content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.setattr(Path, "write_bytes", fill)
    write_run("bc", "hopper", 4, 0, [1.0] * 50)  # something new to write
    with pytest.raises(UserError, match="No space left"):
        publish([runs], out)
    assert contents(out) == before


@pytest.mark.skipif(not committed.holds_results(RESULTS), reason="no results are published")
def test_committed_results_are_sound_and_rendered(tmp_path: Path) -> None:
    assert [what for kind, what in kinds(committed.read_results(RESULTS)) if kind == "corrupt"] == []
    copy = tmp_path / "results"
    shutil.copytree(RESULTS, copy)
    render(copy)
    assert contents(copy) == contents(RESULTS)


def test_damaged_results_are_one_line_and_stay_as_they_are(runs: Path, tmp_path: Path) -> None:
    out, _ = publish([runs], tmp_path / "results")
    for name, damage in (
        ("episodes.csv.gz", b"no gzip"),
        ("runs.csv", b"a,b\n1,2\n"),
        ("runs.csv", b"\n".join((out / "runs.csv").read_bytes().splitlines()[:-1]) + b"\n"),
        ("provenance.json", b"{"),
    ):
        broken = tmp_path / "broken"
        shutil.copytree(out, broken)
        (broken / name).write_bytes(damage)
        before = contents(broken)
        with pytest.raises(UserError):
            publish([runs], broken)
        assert contents(broken) == before
        shutil.rmtree(broken)
