"""Data sets are reproducible, extendable, Minari's own, and checked; what is damaged is found."""

import errno
import json
import os
from pathlib import Path

import h5py
import minari
import numpy as np
import pytest

from bench.errors import UserError
from bench.tasks import get_task
from datasets import demonstrations as data
from datasets import digest as digests
from datasets import store as stores

CARTPOLE = get_task("cartpole")


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
