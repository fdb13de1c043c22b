"""The paper's numbers, each once: Table 1, and the expert returns of Ho & Ermon 2016, whose BC and GAIL it prints."""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

# Which of our methods stands in which column of the paper's Table 1.
COLUMNS: dict[str, str] = {"bc": "bc", "gail-trpo": "gail", "mgail-advanced": "mgail"}

# Ho & Ermon 2016, Table 1: mean return of the (stochastic) expert on the tasks of 2016.
EXPERT_RETURNS: dict[str, float] = {
    "cartpole": 200.0,
    "mountaincar": -98.75,
    "acrobot": -75.25,
    "hopper": 3571.38,
    "walker2d": 6717.08,
    "halfcheetah": 4463.46,
    "ant": 4228.37,
    "humanoid": 9575.40,
}


@dataclass(frozen=True)
class Printed:
    """One entry of the paper's Table 1: mean and standard deviation as printed."""

    mean: float
    std: float


@cache
def table1() -> dict[tuple[str, int, str], Printed]:
    """Return the paper's Table 1 as {(task, trajectories, column): Printed}; columns are bc, gail, mgail."""
    with (files("bench") / "paper_table1.csv").open() as stream:
        return {
            (row["task"], int(row["trajectories"]), row["algorithm"]): Printed(float(row["mean"]), float(row["std"]))
            for row in csv.DictReader(stream)
        }


def printed(task: str, trajectories: int, algorithm: str) -> Printed | None:
    """Return the paper's entry for one of our methods, or None where the paper has none."""
    return table1().get((task, trajectories, COLUMNS.get(algorithm, "")))
