"""HDF5 files: D4RL's layout, other names, and the sentence for each way a file can be wrong."""

import re

import h5py
import numpy as np
import pytest

import deflow
from deflow.data import Columns, UserData, load_task
from deflow.errors import DataError, DatasetFileError


def rows(count=20):
    generator = np.random.default_rng(0)
    return {
        "observations": generator.normal(size=(count, 3)),
        "actions": generator.uniform(-1, 1, (count, 2)).astype(np.float32),
        "rewards": generator.normal(size=count),
        "terminals": np.arange(count) == 7,
        "timeouts": (np.arange(count) == 13) | (np.arange(count) == count - 1),
    }


def save(path, columns):
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
    return path


def test_flat_arrays(tmp_path):
    columns = rows()
    file = save(tmp_path / "walks.hdf5", {**columns, "infos/qpos": np.zeros((20, 5)), "metadata/algorithm": "SAC"})
    task = load_task("none", file, bounds=(-1, 1))
    keep = np.setdiff1d(np.arange(20), [13, 19])  # a time limit's row has no next state
    np.testing.assert_array_equal(task.train.observation, columns["observations"][keep].astype(np.float32))
    np.testing.assert_array_equal(task.train.reward, columns["rewards"][keep].astype(np.float32))
    np.testing.assert_array_equal(np.flatnonzero(np.asarray(task.train.mask) == 0), [7])
    np.testing.assert_array_equal(np.flatnonzero(task.train.extras["trajectory_end"]), [7, 12, 17])
    assert (task.provenance.reader, task.terminations, task.truncations) == ("d4rl", 1, 2)


def test_next_observations_keep_every_row_and_contradict_what_would_be_glued(tmp_path):
    columns = rows()
    following = np.roll(columns["observations"], -1, axis=0)
    following[[7, 13, 19]] = 9.0
    task = load_task("none", save(tmp_path / "next.hdf5", {**columns, "next_observations": following}))
    assert len(task.train) == 20
    np.testing.assert_array_equal(task.train.next_observation[13], [9, 9, 9])
    old = {name: values for name, values in columns.items() if name != "timeouts"}
    old |= {"next_observations": following, "terminals": np.isin(np.arange(20), [7, 19])}
    cut = load_task("none", UserData(save(tmp_path / "old.hdf5", old), terminals="termination"))
    np.testing.assert_array_equal(np.flatnonzero(cut.train.extras["trajectory_end"]), [7, 13, 19])
    assert "1 trajectories are cut where the next row's observation is not this one's" in cut.provenance.assumed[0]
    glued = {**columns, "timeouts": np.arange(20) == 19, "next_observations": following}
    with pytest.raises(DatasetFileError, match=r"1 rows whose next observation is not that of the next row.*row 13"):
        load_task("none", save(tmp_path / "glued.hdf5", glued))


def test_arrays_of_groups_by_name_and_one_dimensional_actions(tmp_path):
    columns = {**rows(), "infos/qpos": np.arange(40.0).reshape(20, 2), "infos/qvel": np.arange(20)}
    columns["actions"] = np.linspace(-2, 2, 20)
    named = Columns(observation=("infos/q*",))
    task = load_task("none", UserData(save(tmp_path / "named.hdf5", columns), columns=named))
    np.testing.assert_array_equal(task.train.observation[3], [6, 7, 3])
    assert (task.spec.action_size, task.bounds.high) == (1, (2.0,))
    assert list(task.provenance.assumed) == ["observations = infos/qpos, infos/qvel"]


def test_with_the_environment_it_came_from(tmp_path):
    columns = {**rows(), "actions": np.linspace(-2, 2, 20)[:, None]}
    task = load_task("Pendulum-v1", save(tmp_path / "pendulum.hdf5", columns))
    np.testing.assert_allclose(task.train.action[0], -1, atol=1.1e-5)
    assert isinstance(task, deflow.Task)


def without(name):
    return {key: values for key, values in rows().items() if key != name}


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (without("observations"), "no column 'observations'"),
        (without("rewards"), "no column 'rewards'"),
        ({**rows(), "rewards": np.zeros(19)}, "20 rows of observations but 19 of rewards"),
        ({**rows(), "rewards": np.full(20, np.nan)}, "nan in rewards, first in row 0"),
        ({**rows(), "actions": np.full((20, 2), np.inf)}, "inf in actions"),
        ({**rows(), "observations": np.full(20, b"a")}, r"observations of type \|S1: save them as numbers"),
        ({**rows(), "terminals": np.full(20, 2)}, "2 in terminals, first in row 0"),
        ({**rows(), "timeouts": np.zeros(20)}, "ends within a trajectory"),
        ({name: values[:0] for name, values in rows().items()}, "no rows"),
        ({key: v for key, v in rows().items() if key not in ("terminals", "timeouts")}, "does not say where"),
        ({**without("timeouts"), "terminals": np.zeros(20)}, "no timeouts, and its last row is none of them"),
        ({**rows(), "actions": np.zeros((20, 2, 2))}, r"actions of shape \(2, 2\) per row"),
    ],
)
def test_one_sentence_for_a_file_that_is_wrong(tmp_path, columns, match):
    with pytest.raises(DatasetFileError, match=match) as caught:
        load_task("none", save(tmp_path / "wrong.hdf5", columns))
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened(tmp_path, monkeypatch):
    whole = save(tmp_path / "whole.hdf5", rows()).read_bytes()
    for name, content in {
        "cut": whole[: len(whole) // 2],
        "start": whole[:8],
        "noise": whole[:64] + b"\xff" * 4000,
    }.items():
        file = tmp_path / f"{name}.hdf5"
        file.write_bytes(content)
        with pytest.raises(DatasetFileError, match=r"is truncated or damaged"):
            load_task("none", file)
    with h5py.File(tmp_path / "ragged.hdf5", "w") as file:
        for name, values in rows().items():
            if name != "rewards":
                file[name] = values
        ragged = file.create_dataset("rewards", (20,), dtype=h5py.vlen_dtype(np.float32))
        ragged[0] = [1.0, 2.0]
    with pytest.raises(DatasetFileError, match="rewards of type object: save them as numbers"):
        load_task("none", tmp_path / "ragged.hdf5")
    save(tmp_path / "other.hdf5", {"data/demo_0/act": np.zeros(3)})
    with pytest.raises(DatasetFileError, match="has no obs in demo_0"):
        load_task("none", tmp_path / "other.hdf5")
    named = Columns(observation=("state",))
    with pytest.raises(DatasetFileError, match=re.escape("Unknown column for the observation 'state'")):
        load_task("none", UserData(save(tmp_path / "named.hdf5", rows()), columns=named))
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(DataError, match=r"needs the package h5py: pip install 'deflow\[data\]'"):
        load_task("none", tmp_path / "named.hdf5")
