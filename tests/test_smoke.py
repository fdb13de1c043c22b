"""The smoke preset: what every entry goes through, on the tasks that are the slowest to be tested otherwise."""

from pathlib import Path

import pytest

import bench
from analysis.records import read_runs
from bench import loop
from bench.config import SMOKE_PROTOCOL
from bench.tasks import get_task
from datasets import demonstrations
from slurm import grid
from slurm.plan import plan, prepare

RANDOM = """
import numpy as np

def random(observations, generators):
    return np.stack([g.uniform(-0.4, 0.4, {size}) for g in generators])
"""
SAMPLE = {  # every method once, on a task that no other test takes it to
    "walker2d": (6, ["gail-reinforce"]),
    "halfcheetah": (6, ["mgail-basic"]),
    "ant": (8, ["bc"]),
    "humanoid": (17, ["gail-trpo", "mgail-advanced"]),
}
"""{task: (actions, methods)}."""


def test_a_sample_of_the_grid_from_demonstrations_to_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MGAIL_BENCH_DATA", str(tmp_path / "demonstrations"))
    monkeypatch.setattr(demonstrations, "_random_return", lambda name: 0.0)  # measured where no expert is shipped
    configs = []
    for name, (size, methods) in SAMPLE.items():
        task = get_task(name)
        (tmp_path / f"{name}.py").write_text(RANDOM.format(size=size))
        made = demonstrations.make_demonstrations(
            task, task.trajectories[0], policy=f"{tmp_path / name}.py:random", show=False
        )
        configs += grid.table1("smoke", [name], methods, task.trajectories[:1], demonstrations=made.id)
    assert {config.algorithm for config in configs} == set(grid.ALGORITHMS)
    out = tmp_path / "smoke"
    prepare(plan(configs, out), out)
    assert {loop.run(config, out).status for config in configs} == {"finished"}
    assert bench.load(out).groupby("task").size().to_dict() == {
        name: len(methods) * SMOKE_PROTOCOL.final for name, (_, methods) in SAMPLE.items()
    }
    assert len(read_runs([out]).runs) == len(configs) == 5
