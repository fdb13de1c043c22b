"""How close sampling comes to the speed of physics: environment steps per second on one core, side by side.

Run as ``python benchmarks/sampling.py [--tasks hopper,ant] [--rows 128] [--steps 100] [--rounds 9]``. The ways take
turns, so that a slow moment of the machine meets all of them; rates and ratios are medians over the rounds:

``limit``             `mujoco.mj_step` alone (with `mj_rnePostConstraint` where the task observes contact forces), in
                      the states that the policy below meets; MuJoCo tasks only
``policy``            our vector environment with a batched policy that samples its actions (`bench.actor.Actor`): the
                      shipped expert, or a new policy of the same size
``random``            our vector environment with actions drawn beforehand
``gymnasium``         `gymnasium.vector.SyncVectorEnv` with the same actions
``EnvPool policy``    EnvPool on one thread with the same policy, and
``EnvPool random``    with the same actions; if it is installed (``pip install -e '.[envpool]'``) and its observations
                      are ours from the same state on, which is checked first

Times are CPU seconds of this process and its threads, which other processes on the machine disturb least.
"""

import argparse
import os
import time
import warnings
from collections.abc import Callable
from statistics import median

os.environ["OMP_NUM_THREADS"] = "1"

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from side_by_side import Limit, command_line, markdown, origin

from bench.actor import Actor
from bench.cli_text import names, positive
from bench.envs import make_env
from bench.envs.mujoco import MujocoVectorEnv, unwarned
from bench.errors import UserError
from bench.policy import Policy
from bench.tasks import TASKS, Task, get_task
from datasets.expert import RECIPES, ExpertConfig, load_expert

try:
    import envpool
except ImportError:
    envpool = None


def expert_or_new(task: Task, env: gymnasium.vector.VectorEnv) -> Policy:
    """Return the shipped expert, whose states are those of training's end; a random policy where there is none."""
    try:
        return load_expert(task)
    except UserError:
        hidden = ExpertConfig.build(RECIPES[task.name]).hidden
        return Policy.for_env(env, hidden=hidden, activation="tanh", generator=torch.Generator().manual_seed(0))


def make_pool(task: Task, env: MujocoVectorEnv) -> gymnasium.vector.VectorEnv | None:
    """Return EnvPool's version of the task, with what it need not compute left out, if it observes what ours does.

    EnvPool cannot be put into a state; so ours is put into the state that EnvPool's first observations tell (all but
    the position in the plane, which changes nothing), and both are given the same actions.
    """
    pool = envpool.make_gymnasium(
        task.env_id, num_envs=env.num_envs, num_threads=1, seed=0, post_constraint=env.contact_forces
    )
    expected, _ = pool.reset()
    env.reset(seed=0)
    env.set_simulator_states(np.arange(env.num_envs), env.states_of(expected))
    env.action_space.seed(0)
    for _ in range(2):  # with contacts, two versions of MuJoCo soon part
        actions = env.action_space.sample()
        *_, info = env.step(actions)
        expected, *_ = pool.step(actions.astype(np.float64))
        if expected.shape != info["final_obs"].shape or not np.allclose(info["final_obs"], expected, atol=2e-3):
            return None
    return pool


class Contest:
    """The ways for one task; each gives the CPU seconds of `steps` batched steps."""

    def __init__(self, task: Task, rows: int, steps: int):
        """Make the environments and draw the actions."""
        self.steps = steps
        self.ours = make_env(task, rows)
        self.policy = expert_or_new(task, self.ours)
        theirs = [lambda: gymnasium.make(task.env_id, **task.env_kwargs)] * rows
        gymnasiums = SyncVectorEnv(theirs, autoreset_mode=AutoresetMode.SAME_STEP)
        self.ways: dict[str, Callable[[], float]] = {}
        if isinstance(self.ours, MujocoVectorEnv):
            self.ways["limit"] = self.physics
        self.ways["policy"] = lambda: self.act(self.ours)
        if isinstance(self.ours, MujocoVectorEnv) and envpool and (pool := make_pool(task, self.ours)):
            self.ways["EnvPool policy"] = lambda: self.act(pool)
            self.ways["EnvPool random"] = lambda: self.replay(pool)
        self.ways["random"] = lambda: self.replay(self.ours)
        self.ways["gymnasium"] = lambda: self.replay(gymnasiums)
        self.ours.action_space.seed(0)
        self.actions = [self.ours.action_space.sample() for _ in range(steps)]
        self.acting = 0.0  # CPU seconds of the policy within the latest `act`

    def replay(self, env: gymnasium.vector.VectorEnv) -> float:
        """Step with the actions drawn beforehand."""
        env.reset(seed=0)
        start = time.process_time()
        for actions in self.actions:
            env.step(actions)
        return time.process_time() - start

    def act(self, env: gymnasium.vector.VectorEnv) -> float:
        """Step with actions that the policy samples."""
        generator = torch.Generator().manual_seed(0)
        observations, _ = env.reset(seed=0)
        self.acting = 0.0
        actor = Actor(self.policy, env.num_envs)
        start = time.process_time()
        for _ in range(self.steps):
            begun = time.process_time()
            actions = actor.sample(observations, generator)
            self.acting += time.process_time() - begun
            observations, *_ = env.step(actions)
        return time.process_time() - start

    def physics(self) -> float:
        """Do the same as `act` and count the physics alone."""
        assert isinstance(self.ours, MujocoVectorEnv)
        limit, seconds = Limit(self.ours), []
        self.ours._advance = lambda rows: seconds.append(limit.advance(rows))  # type: ignore[method-assign]
        try:
            self.act(self.ours)
        finally:
            del self.ours._advance
        return sum(seconds)


def measure(task: Task, rows: int, steps: int, rounds: int) -> tuple[dict[str, str], dict[str, str]]:
    """Return a task's row of the table of rates and of the table of parts."""
    with unwarned():
        contest = Contest(task, rows, steps)
    seconds: dict[str, list[float]] = {way: [] for way in contest.ways}
    acting = []
    for turn in range(-1, rounds):  # the first, which warms up, is not counted
        for way, run in contest.ways.items():
            spent = run()
            if turn >= 0:
                seconds[way].append(spent)
                acting += [contest.acting] if way == "policy" else []
    rates = {"task": task.name}
    for way in ("limit", "policy", "random", "gymnasium", "EnvPool policy", "EnvPool random"):
        rates[way] = f"{rows * steps / median(seconds[way]):,.0f}" if way in seconds else "–"
    for ours, theirs in (
        ("policy", "limit"),
        ("policy", "EnvPool policy"),
        ("random", "EnvPool random"),
        ("random", "gymnasium"),
    ):
        ratio = f"{median(np.divide(seconds[theirs], seconds[ours])):.2f}" if theirs in seconds else "–"
        rates[f"{ours} / {theirs.removesuffix(' ' + ours)}"] = ratio
    parts = {"task": task.name, "batched step, us": f"{median(seconds['policy']) / steps * 1e6:,.0f}"}
    policy = median(np.divide(acting, seconds["policy"]))
    if "limit" in seconds:
        physics = median(np.divide(seconds["limit"], seconds["policy"]))
        parts |= {"physics": f"{physics:.1%}", "environment's rest": f"{1 - physics - policy:.1%}"}
    return rates, parts | {"policy": f"{policy:.1%}"}


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma-separated names (default: all)")
    parser.add_argument("--rows", default="128", help="environments stepped together (default: 128)")
    parser.add_argument("--steps", default="100", help="batched steps per turn (default: 100)")
    parser.add_argument("--rounds", default="9", help="turns of each way (default: 9)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", message="EnvPool seeds are fixed")
    rows, steps, rounds = positive(options.rows), positive(options.steps), positive(options.rounds)
    tasks = [get_task(name) for name in names(options.tasks)]
    rates, parts = zip(*(measure(task, rows, steps, rounds) for task in tasks), strict=True)
    print(f"Environment steps per CPU second, {rows} rows, medians of {rounds} rounds of {steps} batched steps.")
    print(origin("gymnasium", *(["envpool"] if envpool else [])), markdown(rates), sep="\n\n")
    print("\nWhere `policy`'s time goes:", markdown(parts), sep="\n\n")


if __name__ == "__main__":
    command_line(main)
