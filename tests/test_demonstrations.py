"""Every run's pairs follow from its seed; demonstrations may be anybody's."""

from dataclasses import replace

import h5py
import minari
import numpy as np
import pytest
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

from bench.errors import UserError
from bench.tasks import get_task
from bench.trajectory import Trajectory
from datasets import demonstrations as data
from datasets import digest as digests
from datasets import store as stores
from datasets.write import write

CARTPOLE, HOPPER = get_task("cartpole"), get_task("hopper")


def test_seed_zero_is_the_identity_and_all_seeds_nest(made):
    for seed in (0, 1, 2):
        loaded = [data.load_demonstrations(CARTPOLE, n, seed, *made) for n in (2, 5, 12)]
        orders = [list(demonstrations.offsets) for demonstrations in loaded]
        assert orders[0] == orders[1][:2]
        assert orders[1] == orders[2][:5]
        assert sorted(orders[2]) == list(range(12))
        assert (orders[2] == list(range(12))) == (seed == 0)
        small, large = loaded[0], loaded[2]
        assert small.offsets.items() <= large.offsets.items()
        np.testing.assert_array_equal(small.observations, large.observations[: len(small)])


def test_extending_a_store_does_not_change_what_runs_were_handed(made):
    task = replace(CARTPOLE, stored=5)
    for seed in (0, 1):
        extended = [data.load_demonstrations(task, n, seed, *made) for n in (3, 5, 6, 12)]
        assert sorted(extended[1].offsets) == [0, 1, 2, 3, 4]
        assert list(extended[3].offsets)[:6] == list(extended[2].offsets)
        section = stores.open_dataset(made[1], made[0]).section
        assert extended[0].digest == extended[1].digest == digests.chain(section["episode_digests"][:5])
        assert extended[2].digest == extended[3].digest == section["digest"]
    orders = {tuple(data.permutation(5, 5, seed)) for seed in range(50)}
    assert len(orders) > 20
    assert data.permutation(5, 12, 7)[:5] == data.permutation(5, 5, 7)
    assert sorted(data.permutation(5, 12, 7)) == list(range(12))


def test_every_kth_pair_from_the_offset(made):
    demonstrations = data.load_demonstrations(CARTPOLE, 4, 5, *made)
    for index, whole in zip(demonstrations.offsets, demonstrations.trajectories, strict=True):
        rows = demonstrations.trajectory == index
        kept = demonstrations.step[rows]
        offset = demonstrations.offsets[index]
        assert 0 <= offset < CARTPOLE.subsample
        np.testing.assert_array_equal(kept, np.arange(offset, len(whole), 10))
        np.testing.assert_array_equal(demonstrations.observations[rows], whole.observations[kept])
        np.testing.assert_array_equal(demonstrations.actions[rows], whole.actions[kept])


def test_all_offsets_occur_and_short_trajectories_give_a_pair(made):
    offsets = {o for seed in range(30) for o in data.load_demonstrations(CARTPOLE, 12, seed, *made).offsets.values()}
    assert offsets == set(range(10))
    once = data.load_demonstrations(CARTPOLE, 12, 3, *made, subsample=10_000)
    np.testing.assert_array_equal(np.unique(once.trajectory, return_counts=True)[1], 1)
    whole = data.load_demonstrations(CARTPOLE, 12, 3, *made, subsample=1)
    assert len(whole) == sum(map(len, whole.trajectories))


def test_loading_is_the_same_every_time_and_read_only(made):
    a, b = (data.load_demonstrations(CARTPOLE, 3, 9, *made) for _ in range(2))
    np.testing.assert_array_equal(a.observations, b.observations)
    assert a.digest == b.digest
    with pytest.raises(ValueError, match="read-only"):
        a.observations[0] = 0


def test_a_subset_reads_no_other_episode(copied):
    """The other episodes are gone, and nobody notices."""
    with h5py.File(copied[0] / copied[1] / "data" / "main_data.hdf5", "a") as file:
        for index in range(3, 12):
            del file[f"episode_{index}"]
    assert len(data.load_demonstrations(CARTPOLE, 3, 0, *copied).trajectories) == 3
    with pytest.raises(UserError, match="damaged"):
        data.load_demonstrations(CARTPOLE, 4, 0, *copied)


def test_more_than_there_are(made):
    with pytest.raises(UserError, match="holds 12 trajectories, 13 were asked for; more with: bench dataset make"):
        data.load_demonstrations(CARTPOLE, 13, 0, *made)


def test_references_of_a_users_policy_are_its_mean_return(made):
    references = data.references(CARTPOLE, *made)
    mean = stores.open_dataset(made[1], made[0]).section["returns"]
    assert references["expert"] == references["expert_deterministic"] == np.mean(mean)
    assert 9 < references["random"] < 40


def test_list_shows_what_is_there(made, tmp_path):
    (row,) = data.list_demonstrations(made[0])
    assert (row.id, row.task, row.trajectories) == (made[1], "cartpole", 12)
    assert data.list_demonstrations(tmp_path / "nothing") == []


@pytest.mark.parametrize("task", ["cartpole", "mountaincar", "acrobot"])
def test_the_default_store_is_made_from_the_shipped_expert(task, tmp_path, monkeypatch):
    monkeypatch.setenv("MGAIL_BENCH_DATA", str(tmp_path))
    task = replace(get_task(task), stored=4)
    demonstrations = data.load_demonstrations(task, 4, 0)
    references = data.references(task)
    returns = [t.total_reward for t in demonstrations.trajectories]
    assert references["expert"] > references["random"]
    assert np.mean(returns) > references["random"] + 0.7 * (references["expert"] - references["random"])
    assert [row.id for row in data.list_demonstrations()] == [f"mgailbench/{task.name}/expert-v0"]


def test_a_dataset_of_an_older_expert_is_refused_unless_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MGAIL_BENCH_DATA", str(tmp_path))
    name = data.make_demonstrations(CARTPOLE, 2).id
    newer = {"digest": "another", "random": {"mean": 0.0}}
    monkeypatch.setattr(data, "manifest_entry", lambda task: newer)
    with pytest.raises(UserError, match="another expert"):
        data.load_demonstrations(CARTPOLE, 1, 0)
    assert len(data.load_demonstrations(CARTPOLE, 1, 0, dataset_id=name)) > 0


# ---- other people's


@pytest.fixture
def foreign(tmp_path, monkeypatch) -> str:
    """A Minari dataset that Minari made in its own folder: Hopper's spaces, float32, actions beyond the bounds."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "minari"))
    rng = np.random.default_rng(0)
    buffers = [
        EpisodeBuffer(
            observations=rng.normal(size=(41, 11)).astype(np.float32),
            actions=rng.normal(scale=2, size=(40, 3)).astype(np.float32),
            rewards=[float(i + 1)] * 40,
            terminations=[False] * 40,
            truncations=[False] * 39 + [True],
        )
        for i in range(4)
    ]
    metadata = {"author": "a", "author_email": "b", "code_permalink": "c", "algorithm_name": "d", "description": "e"}
    minari.create_dataset_from_buffers("mine/hopper-v3", buffers, env=HOPPER.env_id, eval_env=HOPPER.env_id, **metadata)
    return "mine/hopper-v3"


def test_a_foreign_dataset_loads(foreign, tmp_path):
    demonstrations = data.load_demonstrations(HOPPER, 3, 0, tmp_path / "ours", foreign)
    assert [len(t) for t in demonstrations.trajectories] == [40] * 3
    assert len(demonstrations) == 6
    assert demonstrations.observations.dtype == np.float64
    assert abs(demonstrations.actions).max() == 1  # as executed
    assert demonstrations.trajectories[0].truncated
    references = data.references(HOPPER, tmp_path / "ours", foreign)
    assert references["expert"] == references["expert_deterministic"] == 40 * 2.5
    assert references["random"] < 40
    assert data.load_demonstrations(HOPPER, 1, 0, tmp_path / "ours", foreign).digest == demonstrations.digest


def test_a_foreign_dataset_must_fit(foreign, tmp_path):
    with pytest.raises(UserError, match=r"does not fit task cartpole: its observations have shape \(11,\)"):
        data.load_demonstrations(CARTPOLE, 1, 0, tmp_path, foreign)


def test_actions_of_another_kind_do_not_fit(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    write(
        "mine/odd-v0",
        tmp_path,
        [Trajectory(np.zeros((3, 4)), np.zeros(2, np.int64), np.zeros(2), True, False)],
        None,
        spaces.Box(-np.inf, np.inf, (4,), np.float32),
        spaces.Discrete(5),
        {"task": "odd", "seeds": {"first": 0}},
        {},
    )
    with pytest.raises(UserError, match="its actions have 5 actions, the task's have 2 actions"):
        data.load_demonstrations(CARTPOLE, 1, 0, tmp_path, "mine/odd-v0")
