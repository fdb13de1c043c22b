"""The benchmarks run and say what they should; how fast anything is, is not tested."""

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
