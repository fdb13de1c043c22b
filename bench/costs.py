"""Relative costs of runs, for whoever has to guess before anything like them was measured. In no unit."""

# Physics first, then how often a method uses it.
TASK_COST = {
    "cartpole": 1,
    "mountaincar": 1.5,
    "acrobot": 2,
    "hopper": 10,
    "walker2d": 12,
    "halfcheetah": 12,
    "ant": 25,
    "humanoid": 60,
}
METHOD_COST = {"bc": 0.05, "gail-reinforce": 1.0, "gail-trpo": 1.0, "mgail-basic": 1.0, "mgail-advanced": 2.0}


def relative_cost(algorithm: str, task: str) -> float:
    """Return a guess of a run's cost, in no unit; a labelled variant costs what its method does."""
    return TASK_COST.get(task, 10) * METHOD_COST.get(algorithm.partition("+")[0], 1.0)
