"""The further figures: their rows by hand, what the panels say, and the same bytes every time."""

from pathlib import Path

import numpy as np
import pytest

from analysis import figures, plotting
from analysis.foreign import read_episodes
from analysis.load import Results
from analysis.records import read_runs


@pytest.fixture
def found(write_run, tmp_path: Path) -> Results:
    """Hopper at two sizes with three methods, CartPole with one of them, and a variant that no figure shows."""
    for seed in range(2):
        write_run("bc", "hopper", 4, seed, [10.0 + 20 * seed] * 50, env_steps=0, references=(110.0, 10.0))
        write_run("bc", "hopper", 11, seed, [60.0] * 50, env_steps=0, references=(110.0, 10.0))
        for name, end in (("mgail-basic", 1000), ("gail-trpo", 100_000)):
            write_run(name, "hopper", 4, seed, [90.0] * 50, curve=[10, 50], env_steps=end, references=(110.0, 10.0))
    write_run("bc", "cartpole", 1, 0, [200.0] * 50, env_steps=0, references=(200.0, 20.0))
    write_run("bc", "hopper", 4, 0, [500.0] * 50, label="other", references=(110.0, 10.0))
    return read_runs([tmp_path / "runs"])


def row_of(rows: list[dict], **wanted: object) -> dict:
    (row,) = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return row


def test_return_against_trajectories(found: Results) -> None:
    rows = figures.by_trajectories(found)
    assert {row["algorithm"] for row in rows} == {"bc", "mgail-basic", "gail-trpo"}
    row = row_of(rows, algorithm="bc", task="hopper")
    assert (row["trajectories"], row["mean"], row["n_seeds"]) == ([4, 11], [20.0, 60.0], 2)
    assert (row["low"], row["high"]) == ([10.0, 60.0], [30.0, 60.0])
    one = row_of(rows, algorithm="bc", task="cartpole")
    assert one["low"] == one["mean"] == one["high"] == [200.0]


def test_return_against_steps_is_on_a_geometric_grid_and_bc_has_none(found: Results) -> None:
    rows = figures.by_steps(found)
    row = row_of(rows, algorithm="mgail-basic", task="hopper")
    assert row["trajectories"] == 4
    assert (row["env_steps"][0], row["env_steps"][-1]) == (pytest.approx(500), pytest.approx(1000))
    assert np.diff(np.log(row["env_steps"])) == pytest.approx(np.log(2) / (len(row["env_steps"]) - 1))
    assert (row["mean"][0], row["mean"][-1]) == (pytest.approx(50), pytest.approx(90))
    cloned = row_of(rows, algorithm="bc", task="hopper")
    assert (cloned["env_steps"], cloned["mean"]) == ([], [20.0])


def test_profiles_are_of_the_cells_that_all_methods_have(found: Results) -> None:
    rows = figures.profiles(found)
    assert {row["n_cells"] for row in rows} == {1}  # hopper with 4 trajectories
    row = row_of(rows, algorithm="bc", scope="all")
    share = dict(zip(np.round(row["tau"], 2).tolist(), row["share"], strict=True))
    assert (share[0.0], share[0.1], share[0.2]) == (0.5, 0.5, 0.0)  # scores 0 and 0.2
    assert not [row for row in rows if row["scope"] == "discrete"]


@pytest.mark.parametrize("name", figures.NAMES)
def test_no_text_covers_another_and_bytes_repeat(found: Results, covered_texts, name: str) -> None:
    rows = figures.rows_of(found)[name]
    draw = {"trajectories": figures.draw_trajectories, "steps": figures.draw_steps, "profiles": figures.draw_profiles}
    figure = draw[name](found, rows)
    assert covered_texts(figure) == []
    names = {text.get_text() for legend in figure.legends for text in legend.get_texts()}
    assert names == {"BC", "GAIL-TRPO", "MGAIL basic"}
    first, second = (figures.images(found, {name: rows}) for _ in range(2))
    assert first == second
    assert sorted(first) == [f"{name}.pdf", f"{name}.png"]
    assert b"/FontFile2" in first[f"{name}.pdf"]  # TrueType, not outlines


def test_a_foreign_table_has_its_own_tasks_and_methods(tmp_path: Path) -> None:
    path = tmp_path / "theirs.csv"
    rows = [
        f"{a},{task},{n},{seed},0,{n * seed}\n"
        for a in ("X", "Y")
        for task in ("maze", "lake")
        for n in (1, 3)
        for seed in (0, 1)
    ]
    path.write_text("algorithm,task,trajectories,seed,episode,return\n" + "".join(rows))
    found = read_episodes(path)
    drawn = figures.rows_of(found)
    assert (drawn["steps"], drawn["profiles"]) == ([], [])
    assert [(row["task"], row["algorithm"]) for row in drawn["trajectories"]] == [
        *(("lake", "X"), ("lake", "Y"), ("maze", "X"), ("maze", "Y"))
    ]
    figure = figures.draw_trajectories(found, drawn["trajectories"])
    assert [axes.get_title("left") for axes in figure.axes] == ["lake", "maze"]
    assert sorted(figures.images(found, drawn)) == ["trajectories.pdf", "trajectories.png"]


def test_ours_and_others_are_drawn_apart() -> None:
    names = ["bc", "X", "Y", "mgail-advanced"]
    styles = [plotting.style_of(name, names) for name in names]
    assert len({style["color"] for style in styles}) == 4
    assert styles[0] == plotting.STYLES["bc"]


def test_an_interval_is_named_only_where_several_seeds_give_one():
    assert plotting.mean_remark([{"n_seeds": 1}], "band") == "mean over seeds"
    assert plotting.mean_remark([{"n_seeds": 1}, {"n_seeds": 2}], "bars").endswith("bars: its 95 % bootstrap interval")
