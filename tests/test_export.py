"""What other programs are given is what is stored."""

import h5py
import numpy as np
import pandas as pd
import pytest

from bench.errors import UserError
from datasets import demonstrations as data
from datasets import store as stores


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
