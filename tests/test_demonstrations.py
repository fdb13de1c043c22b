"""Datasets are reproducible, extendable, checked at load; every run's pairs follow from its seed."""

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import minari
import numpy as np
import pandas as pd
import pytest
import torch
from gymnasium import spaces
from minari.data_collector import EpisodeBuffer

from bench.envs import make_env
from bench.errors import UserError
from bench.policy import Policy
from bench.tasks import get_task
from bench.trajectory import Trajectory
from datasets import demonstrations as data
from datasets import digest as digests
from datasets import store as stores
from datasets.collect import FIRST_SEED, collect
from datasets.make import gymnasiums

CARTPOLE, MOUNTAINCAR, HOPPER = (get_task(name) for name in ("cartpole", "mountaincar", "hopper"))
USERS_POLICY = """
import numpy as np

def balance(observations):
    return (observations[:, 2] + observations[:, 3] > 0).astype(int)

def noisy(observations, generators):
    return np.stack([g.uniform(-1.5, 1.5, 3) for g in generators])

def floats(observations):
    return observations[:, 0]

def too_few(observations):
    return np.zeros(3, int)

constant = 3
"""


@pytest.fixture(scope="module")
def policies(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("user") / "mine.py"
    path.write_text(USERS_POLICY)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory, policies) -> tuple[Path, str]:
    """A store with 12 CartPole trajectories, read only."""
    store = tmp_path_factory.mktemp("store")
    return store, data.make_demonstrations(CARTPOLE, 12, store, policy=f"{policies}:balance").id


@pytest.fixture
def copied(made, tmp_path) -> tuple[Path, str]:
    """The same store, to be damaged."""
    shutil.copytree(made[0], tmp_path / "copy")
    return tmp_path / "copy", made[1]


def same(a: Trajectory, b: Trajectory) -> bool:
    return digests.episode_digest(a) == digests.episode_digest(b)


# ---- collecting


@pytest.mark.parametrize("task", [MOUNTAINCAR, HOPPER], ids=lambda task: task.name)
def test_episodes_do_not_depend_on_how_many_are_stepped_together(task):
    policy = Policy.for_env(make_env(task, 1), hidden=(64, 64), generator=torch.Generator().manual_seed(0))
    task = replace(task, horizon=60)
    together = list(collect(task, policy, range(20)))
    singly = list(collect(task, policy, range(20), batch=1))
    later = list(collect(task, policy, range(13, 20), batch=5))
    assert all(same(a, b) for a, b in zip(together, singly, strict=True))
    assert all(same(a, b) for a, b in zip(together[13:], later, strict=True))
    assert [t.seed for t in together] == [FIRST_SEED + i for i in range(20)]


def test_an_episode_is_gymnasiums():
    """Actions as stored, executed by plain Gymnasium from the stored seed, give the stored observations and rewards."""
    import gymnasium

    policy = Policy.for_env(make_env(HOPPER, 1), generator=torch.Generator().manual_seed(1))
    trajectory = next(collect(HOPPER, policy, range(3, 4)))
    env = gymnasium.make(HOPPER.env_id)
    observation, _ = env.reset(seed=trajectory.seed)
    np.testing.assert_array_equal(observation, trajectory.observations[0])
    for t, action in enumerate(trajectory.actions):
        observation, reward, terminated, truncated, _ = env.step(action)
        np.testing.assert_array_equal(observation, trajectory.observations[t + 1])
        assert reward == trajectory.rewards[t]
    assert (terminated, truncated) == (trajectory.terminated, trajectory.truncated) == (True, False)
    env.close()


def test_actions_are_sampled_and_stored_as_executed():
    policy = Policy.for_env(make_env(HOPPER, 1), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        policy.log_std.fill_(1.0)
    actions = np.concatenate([t.actions for t in collect(HOPPER, policy, range(4))])
    assert actions.dtype == np.float32
    assert actions.min() == -1
    assert actions.max() == 1
    assert len(np.unique(actions)) > 10


def test_sampling_follows_the_policys_probabilities():
    """CartPole has two actions: logits (0, log 3) choose the second in three of four cases."""
    policy = Policy.for_env(make_env(CARTPOLE, 1), hidden=())
    with torch.no_grad():
        policy.network[0].weight.zero_()
        policy.network[0].bias.copy_(torch.tensor([0.0, np.log(3.0)]))
    actions = np.concatenate([t.actions for t in collect(CARTPOLE, policy, range(100))])
    assert abs(actions.mean() - 0.75) < 4 * np.sqrt(0.75 * 0.25 / len(actions))


def test_a_users_stochastic_policy_gets_the_episodes_own_generators(policies):
    from bench.policy import import_attribute

    noisy = import_attribute(f"{policies}:noisy")
    together = list(collect(HOPPER, noisy, range(6)))
    apart = list(collect(HOPPER, noisy, range(6), batch=4))
    assert all(same(a, b) for a, b in zip(together, apart, strict=True))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("floats", "must return 16 integers from 0 to 1"),
        ("too_few", "int64 of shape (3,)"),
        ("missing", "has no 'missing'"),
        ("constant", "is not a function"),
    ],
)
def test_a_users_policy_that_is_wrong_is_told_so(policies, tmp_path, name, message):
    with pytest.raises(UserError) as error:
        data.make_demonstrations(CARTPOLE, 2, tmp_path, policy=f"{policies}:{name}")
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert stores.scan(tmp_path) == []


@pytest.mark.parametrize("name", ["halfcheetah", "humanoid"])
def test_mujocos_warnings_stay_off_the_terminal_and_out_of_the_folder(name, tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    _, observation_space, action_space = gymnasiums(get_task(name))
    env = make_env(get_task(name), 1)
    assert (observation_space, action_space) == (env.single_observation_space, env.single_action_space)
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


# ---- storing


def test_extension_keeps_what_was_there_and_equals_making_all_at_once(made, policies, tmp_path):
    spec = f"{policies}:balance"
    few = data.make_demonstrations(CARTPOLE, 5, tmp_path, policy=spec)
    more = data.make_demonstrations(CARTPOLE, 12, tmp_path, policy=spec)
    assert few.trajectories == 5
    assert more.digest == stores.open_dataset(made[1], made[0]).digest() != few.digest
    section = stores.open_dataset(more.id, tmp_path).section
    assert digests.chain(section["episode_digests"][:5]) == few.digest
    data_file = Path("data", "main_data.hdf5")
    assert (tmp_path / more.id / data_file).read_bytes() == (made[0] / made[1] / data_file).read_bytes()


def test_a_relative_store(policies, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MGAIL_BENCH_DATA", raising=False)
    name = data.make_demonstrations(CARTPOLE, 2, policy=f"{policies}:balance").id
    assert (tmp_path / "demonstrations" / name / "data" / "main_data.hdf5").exists()
    assert len(data.load_demonstrations(CARTPOLE, 2, 0, dataset_id=name)) > 0


def test_asking_for_fewer_changes_nothing(made, policies):
    before = (made[0] / made[1] / "data" / "metadata.json").stat().st_mtime_ns
    assert data.make_demonstrations(CARTPOLE, 3, made[0], policy=f"{policies}:balance").trajectories == 12
    assert (made[0] / made[1] / "data" / "metadata.json").stat().st_mtime_ns == before


def test_it_is_a_minari_dataset(made):
    dataset = minari.MinariDataset(made[0] / made[1] / "data")
    assert dataset.id == made[1]
    assert dataset.total_episodes == 12
    env = dataset.recover_environment()
    assert env.spec.id == "CartPole-v1"
    assert env.spec.max_episode_steps == 200
    env.close()
    episode = dataset[3]
    ours = next(stores.open_dataset(made[1], made[0]).read([3]))
    assert dataset.observation_space.contains(episode.observations[0])
    np.testing.assert_array_equal(episode.observations, ours.observations)
    np.testing.assert_array_equal(episode.actions, ours.actions)
    assert "id=3" in repr(episode)


@pytest.mark.parametrize("count", [0, -1, 241])
def test_impossible_numbers_of_trajectories(tmp_path, count):
    with pytest.raises(UserError, match="1 to 240"):
        data.make_demonstrations(CARTPOLE, count, tmp_path)


def test_another_policy_does_not_extend_a_dataset(made, policies):
    with pytest.raises(UserError, match="another policy"):
        data.make_demonstrations(CARTPOLE, 20, made[0], policy=f"{policies}:noisy", dataset_id=made[1])


def test_a_full_disk_leaves_nothing(monkeypatch, policies, tmp_path):
    calls = iter(range(100))

    def full(*_):
        if next(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(UserError, match="No space left on device") as error:
        data.make_demonstrations(CARTPOLE, 8, tmp_path, policy=f"{policies}:balance")
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_folder_that_cannot_be_written(policies, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write into"):
        data.make_demonstrations(CARTPOLE, 2, tmp_path / "file", policy=f"{policies}:balance")


@pytest.mark.parametrize("name", ["", "no version", "../escape-v0", "a//b-v0"])
def test_bad_ids(tmp_path, policies, name):
    with pytest.raises(UserError, match=r"not a dataset id"):
        stores.open_dataset(name, tmp_path)


# ---- damage


def test_one_flipped_byte_is_found(copied):
    store, name = copied
    path = store / name / "data" / "main_data.hdf5"
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        offset = file["episode_7/observations"].id.get_chunk_info(0).byte_offset
    content[offset + 9] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="episode 7 does not have the digest"):
        data.verify_demonstrations(name, store)
    assert len(data.load_demonstrations(CARTPOLE, 7, 0, store, name)) > 0  # the first seven are as they were
    with pytest.raises(UserError, match="damaged"):
        data.load_demonstrations(CARTPOLE, 8, 0, store, name)


@pytest.mark.parametrize("edit", ["references", "returns", "episode_digests", "policy"])
def test_edited_metadata_is_found(copied, edit):
    store, name = copied
    path = store / name / "data" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata[stores.SECTION][edit] = metadata[stores.SECTION]["lengths"]
    path.write_text(json.dumps(metadata))
    with pytest.raises(UserError, match="metadata do not have the digest"):
        data.load_demonstrations(CARTPOLE, 1, 0, store, name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("main_data.hdf5", b""),
        ("main_data.hdf5", b"\x89HDF\r\n\x1a\n rest"),
        ("metadata.json", b"{"),
        ("metadata.json", b"{}"),
    ],
)
def test_cut_files_give_one_line(copied, name, content):
    store, dataset_id = copied
    (store / dataset_id / "data" / name).write_bytes(content)
    with pytest.raises(UserError, match="is damaged") as error:
        data.load_demonstrations(CARTPOLE, 1, 0, store, dataset_id)
    assert "\n" not in str(error.value)
    assert "remove the folder" in str(error.value)


def test_a_missing_data_file_gives_one_line(copied):
    (copied[0] / copied[1] / "data" / "main_data.hdf5").unlink()
    with pytest.raises(UserError, match="is damaged"):
        data.load_demonstrations(CARTPOLE, 1, 0, *copied)


def test_an_unknown_dataset(made):
    with pytest.raises(UserError, match="there is no dataset nobody/has-v0"):
        data.load_demonstrations(CARTPOLE, 1, 0, made[0], "nobody/has-v0")


# ---- loading


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
    stores.write(
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


# ---- export


def test_npz_round_trip(made, tmp_path):
    path = data.export_demonstrations(made[1], tmp_path / "out.npz", 5, made[0])
    whole = list(stores.open_dataset(made[1], made[0]).read(range(5)))
    with np.load(path) as arrays:
        for i, trajectory in enumerate(whole):
            rows = arrays["trajectory"] == i
            np.testing.assert_array_equal(arrays["observations"][rows], trajectory.observations[:-1])
            np.testing.assert_array_equal(arrays["next_observations"][rows], trajectory.observations[1:])
            np.testing.assert_array_equal(arrays["actions"][rows], trajectory.actions)
            assert arrays["terminals"][rows][-1] == trajectory.terminated
            assert arrays["timeouts"][rows][-1] == trajectory.truncated
        assert arrays["terminals"].sum() + arrays["timeouts"].sum() == 5


def test_csv_round_trip(made, tmp_path):
    table = pd.read_csv(data.export_demonstrations(made[1], tmp_path / "out.csv", store=made[0]))
    whole = list(stores.open_dataset(made[1], made[0]).read(range(12)))
    assert len(table) == sum(map(len, whole))
    columns = [f"observation_{i}" for i in range(4)]
    np.testing.assert_array_equal(table[columns], np.concatenate([t.observations[:-1] for t in whole]))
    np.testing.assert_array_equal(table["action"], np.concatenate([t.actions for t in whole]))


def test_h5_round_trip(made, tmp_path):
    path = data.export_demonstrations(made[1], tmp_path / "out.h5", 3, made[0])
    whole = list(stores.open_dataset(made[1], made[0]).read(range(3)))
    with h5py.File(path) as file:
        assert list(file["len_B"]) == [len(t) for t in whole]
        for i, trajectory in enumerate(whole):
            steps = len(trajectory)
            np.testing.assert_array_equal(file["obs_B_T_Do"][i, :steps], trajectory.observations[:-1])
            np.testing.assert_array_equal(file["a_B_T_Da"][i, :steps, 0], trajectory.actions)
            np.testing.assert_array_equal(file["r_B_T"][i, :steps], trajectory.rewards)
            assert not file["r_B_T"][i, steps:].any()


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("out.zip", 1, "the ending must be one of"),
        ("out.npz", 13, "holds 12"),
        ("no/folder/out.csv", 1, "cannot write"),
    ],
)
def test_exports_that_cannot_be(made, tmp_path, name, count, message):
    with pytest.raises(UserError, match=message):
        data.export_demonstrations(made[1], tmp_path / name, count, made[0])
    assert list(tmp_path.iterdir()) == []
