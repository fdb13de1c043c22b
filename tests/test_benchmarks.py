"""The benchmarks run and say what they should; how fast anything is, is not tested."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout


def table_of(text: str, number: int) -> list[dict[str, str]]:
    """Return the rows of the n-th table in Markdown."""
    (block,) = [part for part in text.split("\n\n") if part.startswith("|")][number : number + 1]
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows]


def test_sampling_is_measured_against_its_limit():
    text = run("sampling.py", "--tasks", "cartpole,hopper", "--rows", "2", "--steps", "3", "--rounds", "1")
    cartpole, hopper = table_of(text, 0)
    assert cartpole["task"] == "cartpole"
    assert cartpole["limit"] == "–"
    for way in ("limit", "policy", "random", "gymnasium"):
        assert float(hopper[way].replace(",", "")) > 0
    for ratio in ("policy / limit", "random / gymnasium"):
        assert float(hopper[ratio]) > 0
    _, parts = table_of(text, 1)
    shares = [float(parts[name].strip("%")) for name in ("physics", "policy", "environment's rest")]
    assert abs(sum(shares) - 100) < 0.2


def test_training_is_measured_against_its_limit_and_a_peer(tmp_path):
    """A stand-in for the peers' Python says what the peer would."""
    peer = tmp_path / "python"
    last = {"env_steps": 4096, "cpu_s": 2.0, "returns": [1.0, 3.0], "versions": {"torch": "1.2"}}
    peer.write_text(f"#!/bin/sh\necho '{json.dumps({'env_steps': 2048})}'\necho noise\necho '{json.dumps(last)}'\n")
    peer.chmod(0o755)
    text = run("training.py", "--tasks", "hopper", "--methods", "trpo", "--steps", "3000", "--peers", str(peer))
    ours, theirs = table_of(text, 0)
    assert ours["steps"] == "4,096"
    assert float(ours["of the limit"]) > 0
    assert float(ours["return"]) > 0
    assert theirs["steps / s"] == "2,048"
    assert theirs["return"] == "2"
    assert float(theirs["ours is faster by"]) > 0
    assert "peers: torch 1.2" in text
    (parts,) = table_of(text, 1)
    shares = [float(cell.strip("%")) for part, cell in parts.items() if part not in ("task", "method")]
    assert len(shares) == 6
    assert abs(sum(shares) - 100) < 0.4


def test_the_policy_step_is_measured_against_autograd():
    text = run("mgail_step.py", "--horizons", "3", "--batch", "4", "--rounds", "1")
    rows = table_of(text, 0)
    assert [row["model"] for row in rows] == ["basic", "advanced"]
    for row in rows:
        assert float(row["unrolled / recursion"]) > 0
        assert float(row["difference"]) < 1e-4


def test_a_peer_that_fails_is_said_in_one_line(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "training.py"), "--tasks", "hopper", "--methods", "trpo"]
    done = subprocess.run(
        [*command, "--steps", "1", "--peers", "/bin/false"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert "the peer failed" in done.stderr.splitlines()[-1]


def test_many_records_are_written_loaded_and_rendered(tmp_path):
    lines = run("records.py", "--records", "6", "--out", str(tmp_path / "records")).splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["write", "load", "test", "render"]
    assert lines[4].startswith("6 runs, ")
