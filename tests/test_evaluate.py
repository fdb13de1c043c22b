"""Evaluation: whole episodes from given starts, none of them favoured."""

import gymnasium
import numpy as np
import pytest

from bench.evaluate import Transitions, evaluate
from bench.tasks import TASKS

SEEDS = [1_000_003, 1_000_000, 17, 1_000_000]


def lean(observations: np.ndarray) -> np.ndarray:
    """Push towards where the pole leans, regardless of its speed: it falls, sooner or later."""
    return (observations[:, 2] > 0).astype(np.int64)


def hold(observations: np.ndarray) -> np.ndarray:
    """Hold Hopper's knee for a while."""
    return np.clip(-observations[:, 1:4] - 0.1 * observations[:, 7:10], -1, 1).astype(np.float32)


@pytest.mark.parametrize(("name", "act"), [("cartpole", lean), ("hopper", hold)])
def test_equals_episodes_played_one_by_one_in_gymnasium(name: str, act):
    task = TASKS[name]
    episodes = evaluate(act, task, SEEDS)
    env = gymnasium.make(task.env_id, **task.env_kwargs)
    for i, seed in enumerate(SEEDS):
        observation, _ = env.reset(seed=seed)
        total, length, terminated, truncated = 0.0, 0, False, False
        while not (terminated or truncated):
            action = act(np.asarray(observation, dtype=np.float64)[None])[0]
            observation, reward, terminated, truncated, _ = env.step(action)
            total, length = total + float(reward), length + 1
        assert (episodes.seeds[i], episodes.lengths[i], episodes.terminated[i]) == (seed, length, terminated)
        assert episodes.returns[i] == total
    assert len(set(episodes.lengths)) > 1, "episodes of one length cannot show that rows stand still"
    assert len(episodes) == len(SEEDS)


def test_steps_are_reported_for_running_rows_only():
    steps: list[Transitions] = []
    episodes = evaluate(lean, TASKS["cartpole"], SEEDS, on_step=steps.append)
    for row, length in enumerate(episodes.lengths):
        mine = [step for step in steps if row in step.rows]
        assert len(mine) == length
        positions = [int(np.flatnonzero(step.rows == row)[0]) for step in mine]
        rewards = [step.rewards[i] for step, i in zip(mine, positions, strict=True)]
        assert sum(rewards) == episodes.returns[row]
        for (a, i), (b, j) in zip(
            zip(mine[:-1], positions[:-1], strict=True), zip(mine[1:], positions[1:], strict=True), strict=True
        ):
            np.testing.assert_array_equal(a.next_observations[i], b.observations[j])
        assert mine[-1].terminated[positions[-1]] == episodes.terminated[row]


def test_time_limit_is_not_a_termination():
    episodes = evaluate(lambda o: np.zeros(len(o), dtype=np.int64), TASKS["mountaincar"], [0, 1])
    assert episodes.lengths.tolist() == [200, 200]
    assert episodes.terminated.tolist() == [False, False]
    assert episodes.returns.tolist() == [-200.0, -200.0]
