"""Environment steps and core-minutes until 0.9 of the expert, worked out by hand."""

import io
import json

import pytest
from PIL import Image

from analysis import interactions
from analysis.document import Document
from analysis.records import read_runs


@pytest.fixture
def results(write_run, tmp_path):
    """References are 100 and 0; curves stand at 0, 200, ... 800 steps, the final evaluation at 1000."""
    write_run("gail-trpo", "hopper", 4, 0, [95.0] * 50, curve=[0, 20, 95, 91, 92])  # from 400 on
    write_run("gail-trpo", "hopper", 4, 1, [95.0] * 50, curve=[0, 95, 89, 91, 92])  # from 600 on: 89 is below
    write_run("gail-trpo", "hopper", 4, 2, [80.0] * 50, curve=[0, 95, 95, 95, 95])  # never: the last one is below
    write_run("mgail-basic", "hopper", 4, 0, [50.0] * 50, curve=[0, 10, 20, 30, 40])
    write_run("mgail-basic", "hopper", 4, 0, [99.0] * 50, curve=[95, 95, 95, 95, 95], label="cloned")
    write_run("bc", "hopper", 4, 0, [99.0] * 50, curve=[0, 99], env_steps=0)
    return read_runs([tmp_path / "runs"])


def test_arrival_by_hand(results):
    bc, trpo, basic, cloned = interactions.rows_of(results)
    assert (bc["algorithm"], bc["env_steps"], bc["n_arrived"], bc["budget_env_steps"]) == ("bc", 0, 1, 0)
    assert [row["algorithm"] for row in (trpo, basic, cloned)] == ["gail-trpo", "mgail-basic", "mgail-basic+cloned"]
    assert trpo["env_steps_by_seed"] == [400, 600, None]
    assert trpo["core_min_by_seed"] == pytest.approx([1 * 2 / 6 / 60, 2 * 3 / 6 / 60, None])  # core_s is 1 + seed
    assert (trpo["n_seeds"], trpo["n_arrived"]) == (3, 2)
    assert (trpo["env_steps"], trpo["env_steps_slowest"]) == (600, None)
    assert (trpo["score"], trpo["score_worst"]) == pytest.approx((0.9, 0.8))
    assert (trpo["budget_env_steps"], trpo["budget_core_min"]) == pytest.approx((1000, 2 / 60))
    assert (basic["n_arrived"], basic["env_steps"]) == (0, None)
    assert (cloned["n_arrived"], cloned["env_steps"], cloned["core_min"]) == (1, 0, 0)


def test_the_table_says_what_never_arrived(results):
    rows = interactions.rows_of(results)
    _, trpo, basic, _ = interactions.grid(rows).rows
    assert [trpo[3], trpo[4], trpo[5]] == ["2 of 3", "600", "> 1,000"]
    assert [basic[3], basic[4]] == ["0 of 1", "> 1,000"]


def test_every_format(results):
    document = Document.build(results)
    files = document.contents(["interactions"])
    assert {name.partition(".")[2] for name in files} == {"md", "csv", "tex", "html", "json", "png", "pdf"}
    assert json.loads(files["interactions.json"])["interactions"] == document.interactions
    assert b"2 of 3" in files["interactions.md"]
    assert b"2 of 3" in files["interactions.tex"]
    assert files["interactions.csv"].decode().count("gail-trpo") == 1
    with Image.open(io.BytesIO(files["interactions.png"])) as image:
        assert image.width > 1000
    assert [row["algorithm"] for row in interactions.drawn(document.interactions)] == ["gail-trpo", "mgail-basic"]
    rows = [
        {"task": "hopper", "trajectories": 4, "budget_env_steps": 1, "algorithm": f"m{kind}"}
        for kind in ("", "+a", "+b")
    ]
    assert interactions.drawn(rows) == rows  # among ablations the variants are what is to be seen
    assert interactions.drawn(rows[:2]) == rows[:1]
