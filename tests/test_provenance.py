"""What is recorded of how a run or a table was made."""

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
