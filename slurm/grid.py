"""Which runs make a grid. Pure functions: a preset and filters in, run configurations out, longest first.

The executors (`slurm.local`, `slurm.submit`) take the tuples as they are; a single run is an entry like any other.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bench.config import PRESETS, RunConfig
from bench.costs import relative_cost
from bench.errors import UserError, unknown
from bench.tasks import TASKS, get_task

ALGORITHMS = ("bc", "gail-reinforce", "gail-trpo", "mgail-basic", "mgail-advanced")
FIGURE5 = ("mgail-basic", "mgail-advanced")
SEEDS = {"smoke": 1, "quick": 1, "full": 11, "paper": 11}
"""Runs per entry: a two-sided Wilcoxon test over 31 cells under Holm needs 11 pairs to be able to decide."""

# The quick preset: what two cores can really do in twenty minutes.
_QUICK_CELLS = {
    *((name, size) for name in ("cartpole", "mountaincar", "acrobot") for size in (1, 10)),
    ("hopper", 4),
}
_QUICK_WITHOUT = {("hopper", "gail-reinforce")}


def cost(config: RunConfig) -> float:
    """Return a guess of a run's cost, in no unit, good enough to start the longest first."""
    return relative_cost(config.method, config.task)


def longest_first(configs: Iterable[RunConfig], estimate: Callable[[RunConfig], float] = cost) -> tuple[RunConfig, ...]:
    """Return the runs with the longest first, which keeps all cores busy to the end; ties keep their order."""
    return tuple(sorted(configs, key=estimate, reverse=True))


def _check(preset: str, tasks: Sequence[str] | None, seeds: Sequence[int] | None) -> None:
    if preset not in PRESETS:
        raise unknown("preset", preset, PRESETS)
    for name in tasks or ():
        get_task(name)
    if seeds is not None and not seeds:
        raise UserError("no seeds: a grid needs at least one")


def _cells(preset: str, tasks: Sequence[str] | None, trajectories: Sequence[int] | None) -> list[tuple[str, int]]:
    """Return the (task, size) cells of Table 1 that the preset and the filters leave."""
    cells = [(task.name, size) for task in TASKS.values() for size in task.trajectories]
    if trajectories is not None:
        kept = [cell for cell in cells if cell[1] in trajectories and (tasks is None or cell[0] in tasks)]
        for size in trajectories:
            if all(n != size for _, n in kept):
                sizes = sorted({n for task, n in cells if tasks is None or task in tasks})
                raise UserError(f"Table 1 has no cell of {size} trajectories here; it has {', '.join(map(str, sizes))}")
        return kept
    if preset == "quick":
        quick = [cell for cell in cells if cell in _QUICK_CELLS]
        if tasks is None:
            return quick
        covered = {task for task, _ in quick}  # a task that quick leaves out, asked for by name: its smallest size
        return [c for c in quick if c[0] in tasks] + [
            (name, TASKS[name].trajectories[0]) for name in TASKS if name in tasks and name not in covered
        ]
    return [cell for cell in cells if tasks is None or cell[0] in tasks]


def _grid(
    cells: Iterable[tuple[str, int]],
    algorithms: Iterable[str],
    seeds: Sequence[int] | None,
    preset: str,
    common: dict[str, Any],
    without: Iterable[tuple[str, str]] = (),
) -> tuple[RunConfig, ...]:
    """Return the runs of all methods (but for `without`) on all cells, longest first."""
    cells, names, left_out = tuple(cells), tuple(algorithms), set(without)
    return longest_first(
        RunConfig(algorithm, task, size, seed, preset, **common)
        for seed in (range(SEEDS[preset]) if seeds is None else seeds)
        for task, size in cells
        for algorithm in names
        if (task, algorithm) not in left_out
    )


def table1(
    preset: str = "quick",
    tasks: Sequence[str] | None = None,
    algorithms: Sequence[str] | None = None,
    trajectories: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    **common: Any,
) -> tuple[RunConfig, ...]:
    """Return the runs of Table 1, 155 entries and a seed or more for each, longest first.

    Args:
        preset: smoke, quick, full or paper; `quick` has fewer cells, unless a filter names them.
        tasks: only these tasks.
        algorithms: these methods (default: the five of Table 1).
        trajectories: only these dataset sizes.
        seeds: run seeds (default: `SEEDS` of the preset).
        **common: further fields of every `RunConfig`.

    Raises:
        UserError: an unknown name, or no cell of such a size.
    """
    _check(preset, tasks, seeds)
    without = _QUICK_WITHOUT if preset == "quick" and algorithms is None else ()
    return _grid(_cells(preset, tasks, trajectories), algorithms or ALGORITHMS, seeds, preset, common, without)


def figure5(
    preset: str = "quick",
    tasks: Sequence[str] | None = None,
    algorithms: Sequence[str] | None = None,
    trajectories: Sequence[int] | None = None,
    seeds: Sequence[int] | None = None,
    **common: Any,
) -> tuple[RunConfig, ...]:
    """Return the runs of Figure 5, longest first: both MGAIL variants on every task at its smallest size.

    Arguments as for `table1`; `quick` has the tasks that the quick Table 1 has.
    """
    _check(preset, tasks, seeds)
    quick = {task for task, _ in _QUICK_CELLS} if preset == "quick" else set(TASKS)
    cells = [
        (task.name, size)
        for task in TASKS.values()
        if task.name in (tasks or quick)
        for size in (trajectories or task.trajectories[:1])
    ]
    return _grid(cells, algorithms or FIGURE5, seeds, preset, common)


def product(
    tasks: Sequence[str],
    algorithms: Sequence[str],
    trajectories: Sequence[int],
    seeds: Sequence[int],
    preset: str = "quick",
    **common: Any,
) -> tuple[RunConfig, ...]:
    """Return every combination, of any dataset size, longest first."""
    return _grid([(task, size) for task in tasks for size in trajectories], algorithms, seeds, preset, common)
