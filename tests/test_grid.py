"""Which runs make a grid."""

import pytest

from bench.config import RunConfig
from bench.errors import UserError
from bench.paper import COLUMNS, printed
from bench.tasks import TASKS
from slurm import grid


def entries(configs: tuple[RunConfig, ...]) -> set[tuple[str, int, str]]:
    return {(config.task, config.trajectories, config.algorithm) for config in configs}


@pytest.mark.parametrize(("preset", "seeds"), [("smoke", 1), ("full", 11), ("paper", 11)])
def test_table1_has_155_entries(preset: str, seeds: int) -> None:
    configs = grid.table1(preset)
    assert len(entries(configs)) == 155
    assert len(configs) == 155 * seeds
    assert {config.seed for config in configs} == set(range(seeds))
    assert {config.preset for config in configs} == {preset}


def test_table1_has_every_entry_that_the_paper_prints() -> None:
    ours = {(task, size, COLUMNS[name]) for task, size, name in entries(grid.table1("full")) if name in COLUMNS}
    assert len(ours) == 93
    assert all(printed(task, size, name) for task, size, name in entries(grid.table1("full")) if name in COLUMNS)


def test_quick_is_what_two_cores_can_do_in_twenty_minutes() -> None:
    configs = grid.table1("quick")
    classic = {
        (task, size, name)
        for task in ("cartpole", "mountaincar", "acrobot")
        for size in (1, 10)
        for name in grid.ALGORITHMS
    }
    hopper = {("hopper", 4, name) for name in grid.ALGORITHMS if name != "gail-reinforce"}
    assert entries(configs) == classic | hopper
    assert len(configs) == 34


def test_filters_name_what_quick_leaves_out() -> None:
    assert entries(grid.table1("quick", tasks=["ant"], algorithms=["bc"])) == {("ant", 4, "bc")}
    assert entries(grid.table1("quick", tasks=["hopper"], algorithms=["gail-reinforce"])) == {
        ("hopper", 4, "gail-reinforce")
    }
    assert entries(grid.table1("quick", tasks=["cartpole", "hopper"], trajectories=[4], algorithms=["bc"])) == {
        ("cartpole", 4, "bc"),
        ("hopper", 4, "bc"),
    }


def test_filters() -> None:
    configs = grid.table1("full", ["hopper"], ["bc", "gail-trpo"], [4, 11], [3, 5])
    assert {(c.task, c.algorithm, c.trajectories, c.seed) for c in configs} == {
        ("hopper", name, size, seed) for name in ("bc", "gail-trpo") for size in (4, 11) for seed in (3, 5)
    }


def test_longest_first() -> None:
    costs = [grid.cost(config) for config in grid.table1("full")]
    assert costs == sorted(costs, reverse=True)
    assert grid.table1("full")[0].task == "humanoid"


def test_figure5_is_both_mgail_variants_at_the_smallest_sizes() -> None:
    assert entries(grid.figure5("full")) == {
        (task.name, task.trajectories[0], name) for task in TASKS.values() for name in grid.FIGURE5
    }
    assert {task for task, _, _ in entries(grid.figure5("quick"))} == {"cartpole", "mountaincar", "acrobot", "hopper"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"preset": "fast"}, "unknown preset 'fast'; known: smoke, quick, full, paper"),
        ({"tasks": ["hoper"]}, "unknown task 'hoper'"),
        ({"tasks": ["hopper"], "trajectories": [5]}, "no cell of 5 trajectories here; it has 4, 11, 18, 25"),
        ({"seeds": []}, "no seeds"),
    ],
)
def test_what_is_not_there_is_said(arguments: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        grid.table1(**arguments)


def test_a_label_is_a_folder_of_its_own() -> None:
    from pathlib import Path

    config = RunConfig("my/file.py:Mine", "cartpole", 4, 2, label="x")
    assert config.directory(Path("runs")) == Path("runs/Mine+x/cartpole/n4/seed2")
    assert RunConfig("bc", "cartpole", 4, 2, variant="authors").name == "bc+authors"
    with pytest.raises(UserError, match="label 'a/b'"):
        RunConfig("bc", "cartpole", 4, 2, label="a/b")
