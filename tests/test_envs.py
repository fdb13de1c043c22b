"""The vector environments against Gymnasium itself: equal in every field, to the last bit."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from bench.envs import make_env
from bench.errors import UserError
from bench.tasks import TASKS, Task, get_task

ROWS = 4
DISCRETE = [name for name, task in TASKS.items() if task.discrete]
CONTINUOUS = [name for name, task in TASKS.items() if not task.discrete]
ALL = [*DISCRETE, *CONTINUOUS]

# Time limits that a test can reach, and that random actions do not always reach.
LIMITED = {"hopper": 30, "walker2d": 30, "halfcheetah": 60, "ant": 80, "humanoid": 20}
NEVER_TERMINATE = {"halfcheetah"}


def limited(name: str) -> tuple[Task, int]:
    """Return the task with a time limit that a test can reach."""
    task = TASKS[name]
    horizon = LIMITED.get(name, task.horizon)
    return Task(**{**vars(task), "horizon": horizon}), horizon


def reference(task: Task, rows: int, horizon: int) -> SyncVectorEnv:
    """Return Gymnasium's own vector environment of a task."""
    kwargs = {**task.env_kwargs, "max_episode_steps": horizon}
    return SyncVectorEnv([lambda: gymnasium.make(task.env_id, **kwargs)] * rows, autoreset_mode=AutoresetMode.SAME_STEP)


class Driver:
    """Actions that reach many parts of a task's state space: random ones, and ones that make progress."""

    def __init__(self, task: Task, space: gymnasium.Space, seed: int, dtype: type = np.float32):
        self.task, self.space, self.dtype = task, space, dtype
        self.rng = np.random.default_rng(seed)

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        rows = len(observations)
        skilled = self.rng.random(rows) < np.linspace(0.5, 1.0, rows)  # some rows are better than others
        if self.task.discrete:
            random = self.rng.integers(self.space.n, size=rows)
            progress = {
                "cartpole": lambda o: (o[:, 2] + 0.5 * o[:, 3] + 0.1 * o[:, 0] + 0.2 * o[:, 1] > 0).astype(int),
                "mountaincar": lambda o: np.where(o[:, 1] >= 0, 2, 0),
                "acrobot": lambda o: np.where(o[:, 4] >= 0, 0, 2),
            }[self.task.name](observations)
            return np.where(skilled, progress, random)
        scale = np.linspace(0.0, 1.0, rows)[:, None]
        noise = self.rng.uniform(self.space.low, self.space.high, size=(rows, *self.space.shape))
        return (scale * noise).astype(self.dtype)


@pytest.mark.parametrize("name", ALL)
def test_equals_gymnasium_in_every_field(name: str):
    task, horizon = limited(name)
    theirs, ours = reference(task, ROWS, horizon), make_env(task, ROWS)
    assert ours.single_action_space == theirs.single_action_space
    assert np.array_equal(ours.single_observation_space.low, theirs.single_observation_space.low)
    assert np.array_equal(ours.single_observation_space.high, theirs.single_observation_space.high)
    assert ours.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    terminations = truncations = 0
    for seed in (0, [7, None, 3, None]):  # the second reset goes on with two of the generators
        expected, _ = theirs.reset(seed=seed)
        observations, info = ours.reset(seed=seed)
        assert observations.dtype == np.float64
        assert info == {}
        np.testing.assert_array_equal(observations, expected)
        drive = Driver(task, ours.single_action_space, seed=1)
        for _ in range(400 if task.discrete else 200):
            actions = drive(observations)
            expected, rewards, terminated, truncated, their_info = theirs.step(actions)
            final = expected.astype(np.float64)
            for row in np.flatnonzero(their_info.get("_final_obs", [])):
                final[row] = their_info["final_obs"][row]
            observations, our_rewards, our_terminated, our_truncated, info = ours.step(actions)
            np.testing.assert_array_equal(observations, expected)
            np.testing.assert_array_equal(our_rewards, rewards)
            np.testing.assert_array_equal(our_terminated, terminated)
            np.testing.assert_array_equal(our_truncated, truncated)
            np.testing.assert_array_equal(info["final_obs"], final)
            terminations += terminated.sum()
            truncations += truncated.sum()
    assert (terminations > 0) == (name not in NEVER_TERMINATE), (
        "no episode ended by the task's rule: this test shows too little"
    )
    assert truncations > 0, "no episode ran out of time: this test shows too little"


@pytest.mark.parametrize("name", CONTINUOUS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_actions_are_charged_in_their_own_precision(name: str, dtype: type):
    task = TASKS[name]
    theirs, ours = gymnasium.make(task.env_id), make_env(task, 1)
    theirs.reset(seed=5)
    observations, _ = ours.reset(seed=5)
    rng = np.random.default_rng(0)
    for _ in range(5):
        action = rng.uniform(-0.4, 0.4, ours.single_action_space.shape).astype(dtype)
        expected, reward, *_ = theirs.step(action)
        observations, our_reward, *_ = ours.step(action[None])
        np.testing.assert_array_equal(observations[0], expected)
        assert our_reward[0] == reward


def play(env, task: Task, observations: np.ndarray, steps: int, seed: int) -> list[np.ndarray]:
    """Return everything that `steps` steps give."""
    drive = Driver(task, env.single_action_space, seed)
    fields = []
    for _ in range(steps):
        observations, rewards, terminated, truncated, info = env.step(drive(observations))
        fields += [observations, rewards, terminated, truncated, info["final_obs"]]
    return fields


@pytest.mark.parametrize("name", ALL)
def test_a_saved_state_goes_on_identically(name: str):
    task, _ = limited(name)
    env = make_env(task, ROWS)
    observations, _ = env.reset(seed=11)
    observations = play(env, task, observations, 45, seed=0)[-5]
    state = env.save_state()
    expected = play(env, task, observations, 250, seed=1)
    assert any(field.any() for field in expected[2::5] + expected[3::5]), "no reset after the save"
    other = make_env(task, ROWS)
    other.reset(seed=0)
    for again in (env, other):  # the same environment, and a fresh one as after a restart
        again.restore_state(state)
        for a, b in zip(play(again, task, observations, 250, seed=1), expected, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", ALL)
def test_stepping_some_rows_leaves_the_others_untouched(name: str):
    task, _ = limited(name)
    together, apart = make_env(task, ROWS), make_env(task, ROWS)
    observations, _ = together.reset(seed=2)
    apart.reset(seed=2)
    drive = Driver(task, together.single_action_space, seed=4)
    for _ in range(60):
        actions = drive(observations)
        observations, rewards, terminated, truncated, info = together.step(actions)
        for rows in (np.array([2, 0]), np.array([1, 3])):
            ours = apart.step(actions[rows], rows=rows)
            for a, b in zip(ours[:4], (observations, rewards, terminated, truncated), strict=True):
                np.testing.assert_array_equal(a, b[rows])
            np.testing.assert_array_equal(ours[4]["final_obs"], info["final_obs"][rows])


@pytest.mark.parametrize("name", ALL)
def test_simulator_states_can_be_set(name: str):
    task, _ = limited(name)
    env = make_env(task, ROWS)
    observations, _ = env.reset(seed=0)
    play(env, task, observations, 20, seed=0)
    states = env.simulator_states()
    other = make_env(task, ROWS)
    before, _ = other.reset(seed=9)
    rows = np.array([3, 1])
    placed = other.set_simulator_states(rows, states[rows])
    np.testing.assert_array_equal(other.simulator_states(rows), states[rows])
    theirs = gymnasium.make(task.env_id, **task.env_kwargs)
    theirs.reset(seed=0)
    if task.discrete:
        theirs.unwrapped.state = states[3]
    else:
        nq = theirs.unwrapped.model.nq
        theirs.unwrapped.set_state(states[3, :nq], states[3, nq:])
        np.testing.assert_array_equal(placed[0], theirs.unwrapped._get_obs())
    actions = Driver(task, env.single_action_space, 6)(before)
    expected, reward, terminated, *_ = theirs.step(actions[3])
    observations, rewards, our_terminated, truncated, _ = other.step(actions)
    np.testing.assert_array_equal(observations[3], expected)
    assert (rewards[3], our_terminated[3], truncated[3]) == (reward, terminated, False)


@pytest.mark.parametrize("name", ALL)
def test_states_that_look_like_observations(name: str):
    """Where the observation shows positions and velocities; contact forces and inertias follow from the solver."""
    task, _ = limited(name)
    env, other = make_env(task, ROWS), make_env(task, ROWS)
    observations, _ = env.reset(seed=0)
    observations = play(env, task, observations, 20, seed=0)[-5]
    other.reset(seed=9)
    rows = np.arange(ROWS)
    placed = other.set_simulator_states(rows, env.states_of(observations))
    shown = None if task.discrete else env._model.nq + env._model.nv - env.unseen
    np.testing.assert_allclose(placed[:, :shown], observations[:, :shown], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ALL)
def test_what_a_step_returned_stays_as_it_was(name: str):
    task, _ = limited(name)
    env = make_env(task, ROWS)
    observations, _ = env.reset(seed=0)
    drive = Driver(task, env.single_action_space, 0)
    *fields, info = env.step(drive(observations))
    held = [observations, *fields, info["final_obs"]]
    copies = [field.copy() for field in held]
    play(env, task, fields[0], 3, seed=1)
    env.reset(seed=1)
    held[-1][:] += 1  # nor do they share memory
    copies[-1] += 1
    for field, copy in zip(held, copies, strict=True):
        np.testing.assert_array_equal(field, copy)


def test_threads_change_nothing():
    task, _ = limited("ant")
    alone, threaded = make_env(task, 5), make_env(task, 5, threads=2)
    a, _ = alone.reset(seed=0)
    b, _ = threaded.reset(seed=0)
    for ours, theirs in zip(play(alone, task, a, 100, 0), play(threaded, task, b, 100, 0), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    threaded.close()


def test_staggered_episodes_do_not_run_out_together():
    task, horizon = limited("halfcheetah")
    env, plain = make_env(task, ROWS), make_env(task, ROWS)
    staggered, _ = env.reset(seed=0, options={"staggered": True})
    together, _ = plain.reset(seed=0)
    np.testing.assert_array_equal(staggered, together)
    *_, truncated, _ = zip(*(env.step(np.zeros((ROWS, 6))) for _ in range(2 * horizon)), strict=True)
    ends = [np.flatnonzero(column) + 1 for column in np.stack(truncated).T]
    for row, steps in enumerate(ends):
        first = horizon - row * horizon // ROWS
        assert steps.tolist() == [step for step in (first, first + horizon) if step <= 2 * horizon]
    env.reset(seed=0)
    assert not any(env.step(np.zeros((ROWS, 6)))[3].any() for _ in range(horizon - 1))


def test_bad_input_is_refused():
    task = get_task("cartpole")
    with pytest.raises(UserError, match="unknown task 'cartpol'; known: cartpole"):
        get_task("cartpol")
    with pytest.raises(UserError, match="no vector environment for Pendulum-v1"):
        make_env(Task(**{**vars(task), "env_id": "Pendulum-v1"}), 1)
    with pytest.raises(UserError, match="env_kwargs sutton_barto_reward"):
        make_env(Task(**{**vars(task), "env_kwargs": {"sutton_barto_reward": True}}), 1)
    with pytest.raises(UserError, match="num_envs"):
        make_env(task, 0)
    env = make_env(task, 2)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(2, dtype=int))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="shape"):
        env.step(np.zeros((2, 1), dtype=int))
    with pytest.raises(ValueError, match="seeds"):
        env.reset(seed=[1])
    with pytest.raises(ValueError, match=r"staggered, not \['stagered'\]"):
        env.reset(options={"stagered": True})
    with pytest.raises(ValueError, match="rows"):
        env.restore_state(make_env(task, 3).save_state())
