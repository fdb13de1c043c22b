"""How close sampling comes to the speed of physics: environment steps per second on one core, side by side.

Run as ``python benchmarks/sampling.py [--tasks hopper,ant] [--rows 64] [--steps 200] [--repeats 5]``.

Four ways take turns, so that a slow moment of the machine meets all of them, and the medians are printed:

``mj_step``    `mujoco.mj_step` alone, in the states that the policy below meets (the limit; MuJoCo tasks only)
``policy``     our vector environment with a batched `bench.policy.Policy` (tanh 64-64) that samples its actions
``random``     our vector environment with actions drawn beforehand
``gymnasium``  `gymnasium.vector.SyncVectorEnv` with the same actions drawn beforehand

Times are CPU seconds of this process, which other processes on the machine disturb least.
"""

import argparse
import os
import time
from collections.abc import Callable, Sequence
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gymnasium
import mujoco
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from bench.envs import make_env
from bench.envs.mujoco import STATE, MujocoVectorEnv, Simulator
from bench.errors import UserError
from bench.policy import Policy
from bench.tasks import TASKS, Task, get_task


def trained_or_new(task: Task, env: gymnasium.vector.VectorEnv) -> Policy:
    """Return the shipped expert, whose states are those of training's end; a random policy where there is none."""
    try:
        from datasets.expert import load_expert

        return load_expert(task)
    except (ImportError, UserError):
        return Policy.for_env(env, hidden=(64, 64), activation="tanh", generator=torch.Generator().manual_seed(0))


class TimedPhysics:
    """Stands in for an environment's `_advance` and keeps the time of `mj_step` alone, with one MjData per row."""

    def __init__(self, env: MujocoVectorEnv):
        """Make the simulators."""
        self.env = env
        self.simulators = [Simulator(env._model, env.derived, env.contact_forces) for _ in range(env.num_envs)]
        self.seconds = 0.0

    def __call__(self, rows: Sequence[tuple[NDArray, NDArray]]) -> None:
        """Advance all rows."""
        model, frame_skip = self.env._model, self.env.frame_skip
        for simulator, (state, _) in zip(self.simulators, rows, strict=True):
            mujoco.mj_setState(model, simulator.data, state, STATE)
        start = time.process_time()
        for simulator in self.simulators:
            mujoco.mj_step(model, simulator.data, frame_skip)
        self.seconds += time.process_time() - start
        for simulator, row in zip(self.simulators, rows, strict=True):
            mujoco.mj_getState(model, simulator.data, row[0], STATE)
            if simulator.derived:
                mujoco.mj_rnePostConstraint(model, simulator.data)
                np.concatenate(simulator.derived, out=row[1])


class Contest:
    """The four ways for one task; each gives the CPU seconds of `steps` batched steps."""

    def __init__(self, task: Task, rows: int, steps: int):
        """Make both environments and draw the actions."""
        self.steps = steps
        self.ours = make_env(task, rows)
        theirs = [lambda: gymnasium.make(task.env_id, **task.env_kwargs)] * rows
        self.theirs = SyncVectorEnv(theirs, autoreset_mode=AutoresetMode.SAME_STEP)
        self.ours.action_space.seed(0)
        self.actions = [self.ours.action_space.sample() for _ in range(steps)]
        self.agent = trained_or_new(task, self.ours)
        self.ways: dict[str, Callable[[], float]] = {
            "policy": self.policy,
            "random": lambda: self.replay(self.ours),
            "gymnasium": lambda: self.replay(self.theirs),
        }
        if isinstance(self.ours, MujocoVectorEnv):
            self.ways = {"mj_step": self.physics, **self.ways}

    def replay(self, env: gymnasium.vector.VectorEnv) -> float:
        """Step with the actions drawn beforehand."""
        env.reset(seed=0)
        start = time.process_time()
        for actions in self.actions:
            env.step(actions)
        return time.process_time() - start

    def policy(self) -> float:
        """Step ours with actions that the policy samples."""
        generator = torch.Generator().manual_seed(0)
        observations, _ = self.ours.reset(seed=0)
        start = time.process_time()
        for _ in range(self.steps):
            observations, *_ = self.ours.step(self.agent.sample(observations, generator))
        return time.process_time() - start

    def physics(self) -> float:
        """Do the same as `policy` and count `mj_step` alone."""
        assert isinstance(self.ours, MujocoVectorEnv)
        timed = TimedPhysics(self.ours)
        self.ours._advance = timed  # type: ignore[method-assign]
        try:
            self.policy()
        finally:
            del self.ours._advance
        return timed.seconds


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma-separated names (default: all)")
    parser.add_argument("--rows", type=int, default=64, help="environments stepped together")
    parser.add_argument("--steps", type=int, default=200, help="batched steps per turn")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each way")
    options = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title=f"environment steps per CPU second, {options.rows} rows, median of {options.repeats}")
    for column in ("task", "mj_step", "policy", "random", "gymnasium", "policy / mj_step", "random / gymnasium"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for name in options.tasks.split(","):
        contest = Contest(get_task(name), options.rows, options.steps)
        seconds: dict[str, list[float]] = {way: [] for way in contest.ways}
        for _ in range(options.repeats):
            for way, run in contest.ways.items():
                seconds[way].append(run())
        rate = {way: options.rows * options.steps / median(values) for way, values in seconds.items()}
        physics = f"{rate['mj_step']:,.0f}" if "mj_step" in rate else ""
        share = f"{median(np.divide(seconds['mj_step'], seconds['policy'])):.2f}" if "mj_step" in rate else ""
        gain = median(np.divide(seconds["gymnasium"], seconds["random"]))
        table.add_row(
            name, physics, *(f"{rate[way]:,.0f}" for way in ("policy", "random", "gymnasium")), share, f"{gain:.2f}"
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
