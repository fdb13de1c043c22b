"""Figure 5: the curves by hand, what the panels say, and the same bytes every time."""

import re
import zlib
from pathlib import Path

import numpy as np
import pytest

from analysis import figure5, plotting
from analysis.load import Results
from analysis.records import read_runs
from bench.tasks import TASKS


def results(write_run, tmp_path: Path, curves: dict[tuple[str, int], list[float]]) -> Results:
    """Hopper runs of 4 trajectories with these learning curves, 1000 environment steps each."""
    for (algorithm, seed), curve in curves.items():
        write_run(algorithm, "hopper", 4, seed, [curve[-1]] * 50, curve=curve[:-1], references=(90.0, 10.0))
    return read_runs([tmp_path / "runs"])


def texts(found: Results, panel: int) -> str:
    axes = figure5.draw(found, figure5.curves(found)).axes[panel]
    return "\n".join([axes.get_title("left"), *(text.get_text() for text in axes.texts)])


def test_curve_is_the_mean_over_seeds_on_a_common_grid(write_run, tmp_path: Path) -> None:
    write_run("mgail-basic", "hopper", 4, 0, [30.0] * 50, curve=[10, 20], env_steps=1000)
    write_run("mgail-basic", "hopper", 4, 1, [50.0] * 50, curve=[20, 40], env_steps=2000)
    write_run("mgail-basic", "hopper", 11, 0, [99.0] * 50, curve=[99, 99])  # not the smallest size
    (row,) = figure5.curves(read_runs([tmp_path / "runs"]))
    assert (row["task"], row["trajectories"], row["algorithm"], row["n_seeds"]) == ("hopper", 4, "mgail-basic", 2)
    grid = np.array(row["env_steps"])
    assert (grid[0], grid[-1]) == (0, 1000)  # where the shorter one ends
    expected = (np.interp(grid, [0, 500, 1000], [10, 20, 30]) + np.interp(grid, [0, 1000, 2000], [20, 40, 50])) / 2
    assert row["mean"] == pytest.approx(expected)
    assert (np.array(row["low"]) <= expected + 1e-9).all()
    assert (np.array(row["high"]) >= expected - 1e-9).all()
    assert row["high"][-1] > row["low"][-1]


def test_one_seed_has_no_band(write_run, tmp_path: Path) -> None:
    (row,) = figure5.curves(results(write_run, tmp_path, {("mgail-advanced", 0): [1, 2, 3]}))
    assert (row["low"], row["high"]) == (None, None)


def test_panels_say_what_they_show_and_what_was_not_run(write_run, tmp_path: Path) -> None:
    found = results(write_run, tmp_path, {("mgail-advanced", seed): [10, 50, 80 + seed] for seed in range(3)})
    hopper, ant = texts(found, 3), texts(found, 6)
    assert "Hopper\nn=4, 3 seeds" in hopper
    assert "expert" in hopper
    assert "random" in hopper
    assert "; basic: not run" in hopper
    assert "Ant" in ant
    assert "not run" in ant
    assert "bench run --figure5\n--preset full\n--tasks ant" in ant


def test_curves_of_other_methods_leave_every_panel_not_run(write_run, tmp_path: Path) -> None:
    found = results(write_run, tmp_path, {("gail-trpo", 0): [10, 50, 80]})
    assert figure5.curves(found) == []
    assert all("not run" in texts(found, panel) for panel in range(8))


@pytest.mark.parametrize("missing", ["mgail-basic", "mgail-advanced", "hopper"])
def test_no_text_covers_another(write_run, tmp_path: Path, covered_texts, missing: str) -> None:
    """In panels of which one method was not run, and beside a panel of which nothing was."""
    for task in TASKS.values():
        for seed in range(11 if task.discrete else 5):
            for algorithm in figure5.STYLES:
                if missing not in (algorithm, task.name):
                    place = (algorithm, task.name, task.trajectories[0], seed)
                    write_run(*place, [3600.0 + seed] * 50, curve=[20, 900], references=(3641.0, 17.0))
    found = read_runs([tmp_path / "runs"])
    assert covered_texts(figure5.draw(found, figure5.curves(found))) == []


def test_lines_stand_at_expert_and_random_and_colours_are_the_papers(write_run, tmp_path: Path) -> None:
    found = results(write_run, tmp_path, {(name, 0): [10, 50, 80] for name in ("mgail-basic", "mgail-advanced")})
    axes = figure5.draw(found, figure5.curves(found)).axes[3]
    lines = {line.get_color(): line for line in axes.lines}
    assert len(axes.lines) == 4
    assert {line.get_ydata()[0] for line in axes.lines if len(line.get_ydata()) == 2} == {10.0, 90.0}
    blue, green = (lines[figure5.STYLES[name]["color"]] for name in ("mgail-basic", "mgail-advanced"))
    assert len(blue.get_ydata()) == len(green.get_ydata()) == figure5.POINTS
    for color, strongest in ((blue.get_color(), 2), (green.get_color(), 1)):
        assert np.argmax([int(color[i : i + 2], 16) for i in (1, 3, 5)]) == strongest


def test_same_bytes_without_date_and_with_text_as_text(write_run, tmp_path: Path) -> None:
    found = results(write_run, tmp_path, {("mgail-basic", seed): [10, 50, 80 + seed] for seed in range(2)})
    rows = figure5.curves(found)
    first, second = figure5.images(found, rows), figure5.images(found, rows)
    assert first == second
    assert first["figure5.png"].startswith(b"\x89PNG")
    pdf = first["figure5.pdf"]
    assert pdf.startswith(b"%PDF")
    assert b"CreationDate" not in pdf
    assert b"/FontFile2" in pdf  # TrueType, not outlines
    streams = [
        zlib.decompress(part) for part in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.S) if part[:1] == b"x"
    ]
    assert sum(len(re.findall(rb"T[jJ]\b", stream)) for stream in streams) > 30  # text is set as text


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (500, "500"), (50_000, "50k"), (1_500_000, "1.5M")])
def test_steps_are_short(value: float, text: str) -> None:
    assert plotting.steps(value) == text
