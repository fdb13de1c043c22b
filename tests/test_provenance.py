"""What is recorded of how a run or a table was made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import provenance


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--runs", "/home/me/secret/runs"], "bench publish --runs runs"),
        (["--runs", "{here}/more/runs", "runs"], "bench publish --runs more/runs runs"),
        (["--runs=/home/me/secret/runs/"], "bench publish --runs=runs"),
        (
            ["--algorithm", "/home/me/mine.py:Mine", "--set", "a=b/c"],
            "bench publish --algorithm mine.py:Mine --set a=b/c",
        ),
    ],
)
def test_the_recorded_command_holds_no_private_path(
    words: list[str], shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["/usr/bin/bench", "publish", *(word.format(here=tmp_path) for word in words)])
    assert provenance.command() == shown
    assert provenance.provenance()["command"] == shown


def test_the_commit_is_told_without_a_trace_in_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What git writes on the way could be left behind half by a kill, as a lock that stops every git command."""

    def git(*words: str) -> str:
        me = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
        return subprocess.run(["git", *me, *words], cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    def commit() -> str | None:
        provenance.commit.cache_clear()
        return provenance.commit()

    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    try:
        git("init")
        (tmp_path / "a").write_text("a")
        git("add", "a")
        git("commit", "--message", "a")
        os.utime(tmp_path / "a", (1, 1))  # looks changed, and is not
        before = (tmp_path / ".git" / "index").read_bytes()
        assert commit() == git("rev-parse", "HEAD").strip()
        assert (tmp_path / ".git" / "index").read_bytes() == before
        (tmp_path / "b").write_text("untracked")
        assert commit() == git("rev-parse", "HEAD").strip()
        (tmp_path / "a").write_text("changed")
        assert commit() == git("rev-parse", "HEAD").strip() + "-dirty"
        monkeypatch.setattr(provenance, "__file__", "/provenance.py")
        assert commit() is None
    finally:
        provenance.commit.cache_clear()
