"""D4RL's and robomimic's HDF5 files and Minari's sets: their rows, checked by hand, and one sentence for the rest."""

import json
import shutil
import sys
import warnings

import gymnasium
import h5py
import numpy as np
import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import minari

from deflow.data import Columns, UserData, load_task, readers
from deflow.errors import DataError, DataWarning

ROWS = 12


def flat(rows=ROWS, **changed):
    """A D4RL file: two trajectories of six rows, of which the first terminates and the second is cut."""
    generator = np.random.default_rng(0)
    columns = {
        "observations": generator.normal(size=(rows, 3)).astype(np.float32),
        "actions": generator.uniform(-1, 1, (rows, 2)).astype(np.float32),
        "rewards": generator.normal(size=rows).astype(np.float32),
        "terminals": np.arange(rows) == 5,
        "timeouts": np.arange(rows) == rows - 1,
        "infos/qpos": generator.normal(size=(rows, 4)),
        "infos/qvel": generator.normal(size=rows),
        "metadata/algorithm": "SAC",
        "metadata/policy/weight": np.zeros((7, 7)),
    }
    return {name: values for name, values in (columns | changed).items() if values is not None}


def demos(count=3, rows=4, **changed):
    """A robomimic file. Demo k succeeds at its last row, as `dones` and `rewards` say."""
    columns = {"mask": None}
    for demo in range(count):
        generator = np.random.default_rng(demo)
        obs = {"object": generator.normal(size=(rows + 1, 2)), "eef_pos": generator.normal(size=(rows + 1, 3))}
        obs |= {"gripper": generator.normal(size=rows + 1)}
        obs["camera"] = generator.integers(0, 255, (rows + 1, 8, 8, 3)).astype(np.uint8)
        columns |= {f"data/demo_{demo}/obs/{name}": values[:-1] for name, values in obs.items()}
        columns |= {f"data/demo_{demo}/next_obs/{name}": values[1:] for name, values in obs.items()}
        columns[f"data/demo_{demo}/actions"] = generator.uniform(-1, 1, (rows, 2))
        columns[f"data/demo_{demo}/rewards"] = (np.arange(rows) == rows - 1).astype(np.float64)
        columns[f"data/demo_{demo}/dones"] = (np.arange(rows) == rows - 1).astype(np.int64)
        columns[f"data/demo_{demo}/states"] = generator.normal(size=(rows, 5))
    return {name: values for name, values in (columns | changed).items() if values is not None}


def write(tmp_path, columns, attributes=None):
    path = tmp_path / "recorded.hdf5"
    with h5py.File(path, "w") as file:
        for name, values in columns.items():
            file[name] = values
        for name, given in (attributes or {}).items():
            file[name].attrs.update(given)
    return path


def load(path, columns=None, name="none", **options):
    return load_task(name, UserData(path, columns=columns or Columns(), **options))


def ends(batch):
    return np.flatnonzero(batch.extras["trajectory_end"]).tolist()


def terminated(batch):
    return np.flatnonzero(np.asarray(batch.mask) == 0).tolist()


def refused(match, use, *arguments, **named):
    """What `use` raises is one sentence of deflow's."""
    with pytest.raises(DataError, match=match) as error:
        use(*arguments, **named)
    text = str(error.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert ". " not in text.partition(" Choose from")[0].replace(". Did you mean", "")  # as all names are answered
    return text


# --- D4RL


def test_the_transitions_of_a_d4rl_file(tmp_path):
    columns = flat()
    task = load(write(tmp_path, columns))
    keep = np.arange(ROWS - 1)  # the last row of a cut trajectory has no next state; a termination needs none
    np.testing.assert_array_equal(task.train.observation, columns["observations"][keep])
    within = np.setdiff1d(keep, [5])
    np.testing.assert_array_equal(task.train.next_observation[within], columns["observations"][within + 1])
    np.testing.assert_array_equal(task.train.reward, columns["rewards"][keep])
    assert (ends(task.train), terminated(task.train)) == ([5, 10], [5])
    assert task.provenance.reader == "d4rl"
    assert task.provenance.reading == "terminals as terminations, timeouts as truncations"
    low, high = columns["actions"].min(0), columns["actions"].max(0)
    np.testing.assert_allclose([task.bounds.low, task.bounds.high], [low, high])


def test_a_d4rl_file_of_an_environment(tmp_path):
    columns = flat(actions=np.linspace(-2, 2, ROWS))
    task = load(write(tmp_path, columns), name="Pendulum-v1")
    np.testing.assert_allclose(task.train.action[:, 0], np.linspace(-1, 1, ROWS)[:-1], atol=1.1e-5)
    assert task.bounds.origin == "environment"


def test_next_observations_of_a_file_count_for_its_last_rows(tmp_path):
    columns = flat()
    following = np.roll(columns["observations"], -1, axis=0)
    following[[5, 11]] = 7
    task = load(write(tmp_path, columns | {"next_observations": following}))
    assert len(task.train) == ROWS
    np.testing.assert_array_equal(task.train.next_observation, following)
    assert (ends(task.train), terminated(task.train)) == ([5, 11], [5])


def test_arrays_in_groups_are_joined_in_the_order_given(tmp_path):
    columns = flat()
    task = load(write(tmp_path, columns), Columns(observation=("infos/qvel", "infos/qpos")))
    state = np.column_stack([columns["infos/qvel"], columns["infos/qpos"]]).astype(np.float32)
    np.testing.assert_array_equal(task.train.observation, state[: ROWS - 1])
    assert task.provenance.assumed == ("observations = infos/qvel, infos/qpos",)


def test_vectors_of_one_number_need_no_axis(tmp_path):
    generator = np.random.default_rng(0)
    columns = flat(observations=generator.normal(size=ROWS), actions=generator.normal(size=ROWS))
    columns["rewards"] = columns["rewards"][:, None]
    task = load(write(tmp_path, columns))
    assert (task.train.observation.shape, task.train.action.shape) == ((11, 1), (11, 1))
    assert task.train.reward.shape == (11,)


def test_old_files_are_cut_where_next_observations_say(tmp_path):
    columns = flat(timeouts=None)
    following = np.roll(columns["observations"], -1, axis=0)
    following[[2, 5, 8, 11]] = 7  # 5 is a terminal, 2 and 8 are time limits
    task = load(write(tmp_path, columns | {"next_observations": following}))
    assert (ends(task.train), terminated(task.train)) == ([2, 5, 8, 11], [5])
    assert "no timeouts: 3 trajectories are cut where the next row's" in task.provenance.assumed[0]


def test_old_files_whose_every_end_is_a_terminal(tmp_path):
    columns = flat(timeouts=None, terminals=np.isin(np.arange(ROWS), [5, 11]))
    path = write(tmp_path, columns)
    task = load(path)
    assert (ends(task.train), terminated(task.train)) == ([5, 11], [5, 11])
    assert "trajectories end at terminals alone, which are terminations" in task.provenance.assumed[0]
    asked = load(path, terminals="trajectory-end")
    assert (len(asked.train), terminated(asked.train)) == (10, [])


def drifting(rows, jump):
    """A state that moves slowly, but jumps after row `jump`."""
    steps = np.full((rows, 3), 1e-3)
    steps[jump + 1] = 5
    return steps.cumsum(0).astype(np.float32)


def test_old_files_that_would_glue_trajectories_are_refused(tmp_path):
    last = np.arange(30) == 29
    columns = flat(30, observations=drifting(30, 14), timeouts=None, terminals=last)
    text = refused("jumps after 1 rows that are no terminals, first after row 14", load, write(tmp_path, columns))
    assert "add timeouts" in text
    marked = columns | {"timeouts": np.arange(30) == 14}
    assert ends(load(write(tmp_path, marked)).train) == [13, 28]


def test_jumps_beside_timeouts_are_warned_of(tmp_path):
    columns = flat(30, observations=drifting(30, 14), timeouts=np.arange(30) == 20, terminals=np.arange(30) == 29)
    with pytest.warns(DataWarning, match="jumps after 1 rows"):
        load(write(tmp_path, columns))


def test_a_file_that_stops_within_a_trajectory_is_cut_there(tmp_path):
    columns = flat(timeouts=np.arange(ROWS) == 8)
    task = load(write(tmp_path, columns))
    assert (ends(task.train), terminated(task.train)) == ([5, 7, 9], [5])
    assert task.provenance.assumed == ("the last row ends a trajectory, which the file does not mark",)


def test_hdf5_files_are_known_by_how_they_are_built(tmp_path):
    def known(path):
        return [name for name in readers.registry if readers.reader_named(name).suits(path)]

    path = write(tmp_path, flat())
    assert known(path) == ["d4rl"]
    assert known(path.rename(tmp_path / "data.bin")) == ["d4rl"]
    assert known(write(tmp_path, demos())) == ["robomimic"]
    assert known(write(tmp_path, {"episode_0/observations": np.zeros(3)})) == ["minari"]
    path.write_bytes((tmp_path / "data.bin").read_bytes()[:3000])  # cut: one reader says so
    assert known(path) == ["d4rl"]
    for content in (b"", b"a,b\n1,2\n", b"PK\x03\x04", b"\x00\x01\x02"):
        other = tmp_path / "other.xyz"
        other.write_bytes(content)
        assert not {"d4rl", "robomimic", "minari"} & set(known(other))
    for meta in ("", "[]", "{", '{"total_episodes": 1}'):
        (tmp_path / "metadata.json").write_text(meta)
        assert "minari" not in known(tmp_path)


@pytest.mark.parametrize("kind", [flat, demos])
def test_without_h5py_the_extra_is_named(tmp_path, monkeypatch, kind):
    path = write(tmp_path, kind())
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(r"needs the package h5py: pip install 'deflow\[data\]'", load, path)


def texts(*values):
    return np.array(values, dtype=h5py.string_dtype())


def ragged():
    values = np.empty(ROWS, dtype=object)
    values[:] = [np.arange(1 + row % 3, dtype=np.float32) for row in range(ROWS)]
    return values


def vlen(tmp_path):
    path = write(tmp_path, flat(observations=None))
    with h5py.File(path, "a") as file:
        dataset = file.create_dataset("observations", (ROWS,), dtype=h5py.vlen_dtype(np.float32))
        dataset[:] = ragged()
    return path


def virtual(tmp_path):
    path = write(tmp_path, flat(observations=None))
    layout = h5py.VirtualLayout((ROWS, 3), np.float32)
    layout[:] = h5py.VirtualSource("elsewhere.hdf5", "observations", (ROWS, 3))
    with h5py.File(path, "a") as file:
        file.create_virtual_dataset("observations", layout)
    return path


def linked(tmp_path):
    path = write(tmp_path, flat(observations=None))
    with h5py.File(path, "a") as file:
        file["observations"] = h5py.ExternalLink("/etc/passwd", "observations")
    return path


def external(tmp_path):
    path = write(tmp_path, flat(observations=None))
    (tmp_path / "raw").write_bytes(bytes(ROWS * 12))
    with h5py.File(path, "a") as file:
        file.create_dataset("observations", (ROWS, 3), np.float32, external=[(str(tmp_path / "raw"), 0, ROWS * 12)])
    return path


COMPOUND = np.zeros(ROWS, dtype=[("x", np.float32), ("y", np.float32)])
NAN = np.where(np.arange(ROWS)[:, None] == 3, np.nan, np.zeros((ROWS, 3)))


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"observations": None}, "has no column 'observations'.*columns.observation"),
        ({"actions": None}, "has no column 'actions'"),
        ({"rewards": None}, "has no column 'rewards'"),
        ({"observations": None, "obs": np.zeros((ROWS, 3))}, "it has .*obs"),
        ({"terminals": None, "timeouts": None}, "does not say where trajectories end"),
        ({"terminals": np.zeros(ROWS), "timeouts": np.zeros(ROWS)}, "ends within a trajectory"),
        ({"timeouts": None}, "no timeouts, and its last row is none of them"),
        ({"observations": NAN}, "has nan in observations, first in row 3"),
        ({"actions": np.full((ROWS, 2), np.inf)}, "has inf in actions"),
        ({"observations": texts(*"abcdefghijkl")}, "has observations of type object: save them as numbers"),
        ({"observations": np.array([b"ab"] * ROWS)}, "has observations of type .S2"),
        ({"observations": COMPOUND}, "has observations of type .*x"),
        ({"observations": np.zeros((ROWS, 3), complex)}, "has observations of type complex128"),
        ({"observations": np.float32(3)}, "has no rows in observations"),
        ({"observations": h5py.Empty("f")}, "has no rows in observations"),
        ({"observations": np.zeros((ROWS - 1, 3))}, "11 rows of observations but 12 of actions"),
        ({"rewards": np.zeros((ROWS, 2))}, r"has rewards of shape \(2,\) per row"),
        ({"terminals": np.zeros((ROWS, 2))}, r"has terminals of shape \(2,\) per row"),
        ({"terminals": np.full(ROWS, 0.5)}, "has 0.5 in terminals"),
        ({"next_observations": np.zeros((ROWS, 3))}, "whose next observation is not that of the next row"),
        ({"next_observations": np.zeros((ROWS, 4)), "timeouts": None}, "4 numbers per row in next_observations"),
        ({name: np.zeros((0, 3)) for name in ("observations", "actions")}, "rows of"),
    ],
)
def test_one_sentence_for_a_malformed_d4rl_file(tmp_path, changed, match):
    refused(match, load, write(tmp_path, flat(**changed)))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (vlen, "has observations of type object: .*lists of different lengths"),
        (virtual, "refers to other files in observations"),
        (external, "refers to other files in observations"),
        (linked, "has no column 'observations'"),
    ],
)
def test_one_sentence_for_arrays_that_are_elsewhere_or_ragged(tmp_path, make, match):
    refused(match, load, make(tmp_path))


@pytest.mark.parametrize(
    ("named", "match"),
    [
        ({"observation": ("infos/qqos",)}, "qqos.*did you mean|qqos"),
        ({"observation": ("metadata/*",)}, "metadata"),
        ({"reward": "infos/qpos"}, r"infos/qpos of shape \(4,\) per row"),
        ({"termination": "rewards"}, "in terminations"),
        ({"episode": "infos/qpos"}, "infos/qpos of shape"),
        ({"observation": ("observations", "infos/none")}, "none"),
    ],
)
def test_one_sentence_for_wrong_columns_of_d4rl(tmp_path, named, match):
    refused(match, load, write(tmp_path, flat()), Columns(**named))


@pytest.mark.parametrize("damage", ["cut", "half", "changed", "empty", "text", "lfs", "folder", "zip"])
def test_one_sentence_for_a_damaged_hdf5_file(tmp_path, damage):
    path = write(tmp_path, flat(observations=np.zeros((ROWS, 5000))))
    content = path.read_bytes()
    if damage == "folder":
        path.unlink()
        path.mkdir()
    else:
        changed = bytearray(content)
        changed[200:2000] = bytes(1800)
        lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"
        versions = {"cut": content[:-5000], "half": content[: len(content) // 2], "changed": bytes(changed)}
        path.write_bytes(versions.get(damage, {"text": b"hello", "lfs": lfs, "zip": b"PK\x03\x04"}.get(damage, b"")))
    for reader in ("d4rl", "robomimic"):
        refused("truncated or damaged|not an HDF5 file|Git LFS", load, path, reader=reader)


# --- robomimic


def test_the_transitions_of_robomimic(tmp_path):
    columns = demos()
    task = load(write(tmp_path, columns))
    assert task.provenance.reader == "robomimic"
    keys = ["eef_pos", "gripper", "object"]
    for field, group in (("observation", "obs"), ("next_observation", "next_obs")):
        parts = [[columns[f"data/demo_{demo}/{group}/{key}"].reshape(4, -1) for key in keys] for demo in range(3)]
        state = np.concatenate([np.concatenate(each, axis=1) for each in parts]).astype(np.float32)
        np.testing.assert_array_equal(getattr(task.train, field), state)
    np.testing.assert_array_equal(task.train.reward, np.tile([0, 0, 0, 1], 3))
    assert (ends(task.train), terminated(task.train)) == ([3, 7, 11], [3, 7, 11])
    assert (task.bounds.low, task.bounds.high, task.bounds.origin) == ((-1.0, -1.0), (1.0, 1.0), "source")
    assert list(task.provenance.assumed) == [
        "observations = eef_pos, gripper, object",
        "left out of the observation: camera (8, 8, 3)",
        "a trajectory is a demo",
        "an episode terminates where dones and the reward are 1: 0 demos end without, and are cut",
        "actions are in [-1, 1], as robomimic wants them",
    ]
    names = readers.reader_named("robomimic").read(tmp_path / "recorded.hdf5", Columns()).names
    assert names["observations"] == ("eef_pos.0", "eef_pos.1", "eef_pos.2", "gripper", "object.0", "object.1")


def test_demos_lie_in_the_order_of_their_numbers(tmp_path):
    columns = demos(12, rows=2)
    task = load(write(tmp_path, columns), Columns(observation=("gripper",)))
    states = np.concatenate([columns[f"data/demo_{demo}/obs/gripper"] for demo in range(12)])
    np.testing.assert_array_equal(task.train.observation[:, 0], states.astype(np.float32))


def test_keys_are_joined_in_the_order_given(tmp_path):
    columns = demos()
    task = load(write(tmp_path, columns), Columns(observation=("object", "eef_*")))
    assert task.train.observation.shape == (12, 5)
    first = np.concatenate([columns["data/demo_0/obs/object"][0], columns["data/demo_0/obs/eef_pos"][0]])
    np.testing.assert_array_equal(task.train.observation[0], first.astype(np.float32))
    pixels = load(write(tmp_path, columns), Columns(observation=("camera",)))
    assert (pixels.spec.observation_shape, pixels.spec.observation_dtype) == ((8, 8, 3), "uint8")
    states = load(write(tmp_path, columns), Columns(observation=("states",)))
    assert len(states.train) == 12  # no next state is known at an end, and none is needed: all demos terminate


def test_without_next_obs_the_next_row_is_next(tmp_path):
    columns = {name: values for name, values in demos().items() if "next_obs" not in name}
    columns["data/demo_1/dones"][:] = 0
    columns["data/demo_1/rewards"][:] = 0
    task = load(write(tmp_path, columns))
    assert (ends(task.train), terminated(task.train)) == ([3, 6, 10], [3, 10])
    columns = demos()
    del columns["data/demo_1/next_obs/object"]
    assert "next_obs is left out: 1 demos have none" in load(write(tmp_path, columns)).provenance.assumed


def test_dones_at_the_end_of_a_failed_demo_cut_it(tmp_path):
    columns = demos()
    columns["data/demo_1/rewards"][:] = 0  # done_mode 1 and 2 mark its last row all the same
    columns["data/demo_2/rewards"][2:] = 1  # solved before its last row
    columns["data/demo_2/dones"][2:] = 1
    task = load(write(tmp_path, columns))
    assert (ends(task.train), terminated(task.train)) == ([3, 7, 11], [3, 10, 11])
    assert "1 demos end without, and are cut" in task.provenance.assumed[3]


def test_other_rewards_leave_dones_as_they_are(tmp_path):
    columns = demos()
    columns["data/demo_0/rewards"][:] = 0.3
    path = write(tmp_path, columns)
    assert terminated(load(path).train) == [3, 7, 11]
    columns["data/demo_0/solved"], columns["data/demo_0/left"] = np.arange(4) == 1, np.arange(4) == 2
    path = write(tmp_path, {name: values for name, values in columns.items() if "demo_0" in name})
    task = load(path, Columns(termination="solved", truncation="left"))
    assert (ends(task.train), terminated(task.train)) == ([2, 3], [1])


def test_masks_hold_demos_out(tmp_path):
    columns = demos(4) | {"mask/valid": texts("demo_1"), "mask/train": np.array([b"demo_0", b"demo_2"])}
    task = load(write(tmp_path, columns))
    assert (len(task.train), len(task.validation)) == (12, 4)
    held = np.concatenate([columns[f"data/demo_1/obs/{k}"].reshape(4, -1) for k in ("eef_pos", "gripper", "object")], 1)
    np.testing.assert_array_equal(task.validation.observation, held.astype(np.float32))
    assert "1 demos are held out, as mask/valid says" in task.provenance.assumed
    assert "1 demos are in neither mask, and are trained on" in task.provenance.assumed


def test_the_environment_of_demos(tmp_path):
    described = {"env_name": "Pendulum-v1", "type": 2, "env_kwargs": {}}
    reader = readers.reader_named("robomimic")
    path = write(tmp_path, demos(), {"data": {"env_args": json.dumps(described)}})
    assert reader.read(path, Columns()).environment == "Pendulum-v1"
    for other in (json.dumps(described | {"env_name": "Lift", "type": 1}), "no JSON", "[]", 3):
        assert reader.read(write(tmp_path, demos(), {"data": {"env_args": other}}), Columns()).environment is None


def without(columns, part):
    return {name: values for name, values in columns.items() if part not in name}


@pytest.mark.parametrize(
    ("columns", "named", "match"),
    [
        ({"data": np.zeros(3)}, {}, "has no demos"),
        ({"data/demo_0/nothing": np.zeros(3)}, {}, "has no obs in demo_0"),
        (without(demos(), "obs"), {}, "columns.observation states"),
        (without(demos(), "/actions"), {}, "action"),
        (without(demos(), "/rewards"), {}, "has no rewards in demo_0.*dataset_states_to_obs"),
        (without(demos(), "demo_1/obs/object"), {}, "has no obs/object in demo_1"),
        (without(without(demos(), "next_obs"), "dones"), {}, "has the reward 0 everywhere but in the last rows"),
        (demos(**{"data/demo_1/actions": np.zeros((3, 2))}), {}, "of shape|4 rows of .* but 3 of actions in demo_1"),
        (demos(**{"data/demo_1/actions": np.zeros((4, 3))}), {}, r"actions of shape \(3,\) per row in demo_1"),
        (demos(**{"data/demo_1/actions": texts(*"abcd")}), {}, "has data/demo_1/actions of type object"),
        (demos(**{"data/demo_1/obs/object": np.full((4, 2), np.nan)}), {}, "has nan in observations, first in row 4"),
        (demos(**{"data/demo_1/dones": np.full(4, 2)}), {}, "has 2 in dones, first in row 4"),
        (demos(**{"data/demo_1/next_obs/object": np.zeros((4, 2))}), {}, "next observation is not that of the next"),
        (demos(rows=0), {}, "has no rows"),
        (demos(**{"mask/valid": texts("demo_1", "demo_9")}), {}, "'demo_9' in mask/valid, but no such demo"),
        (demos(**{"mask/valid": texts("demo_0", "demo_1", "demo_2")}), {}, "all of its demos in mask/valid"),
        (demos(**{"mask/valid": texts("demo_0"), "mask/train": texts("demo_0")}), {}, "in mask/train and in mask/val"),
        (demos(**{"mask/valid": np.arange(3)}), {}, "has no list of demos in mask/valid"),
        (demos(**{"mask/valid/demo_0": np.arange(3)}), {}, "has no list of demos in mask/valid"),
        (demos(), {"observation": ("objekt",)}, "objekt"),
        (demos(), {"observation": ("*",)}, "camera of shape"),
        (demos(), {"action": ("acts",)}, "acts"),
        (demos(), {"reward": "states"}, r"states of shape \(5,\)"),
        (demos(), {"episode": "dones"}, "leave columns.episode out"),
        (demos(), {"time": "dones"}, "leave columns.time out"),
    ],
)
def test_one_sentence_for_a_malformed_robomimic_file(tmp_path, columns, named, match):
    refused(match, load, write(tmp_path, columns), Columns(**named), reader="robomimic")


def test_one_sentence_for_a_demo_that_was_cut(tmp_path):
    path = write(tmp_path, demos(), {"data/demo_2": {"num_samples": 9}})
    refused("has 4 rows in demo_2, but its num_samples says 9", load, path)
    pixels = {name: values for name, values in demos().items() if not name.endswith(("object", "gripper", "eef_pos"))}
    pixels |= {name.replace("camera", "wrist"): values for name, values in pixels.items() if "camera" in name}
    refused("has no vector for the observation.*columns.observation", load, write(tmp_path, pixels))


# --- Minari


class Reach(gymnasium.Env):
    """A point that is to reach a goal, with a dictionary of observations."""

    def __init__(self, far=1.0):
        box = gymnasium.spaces.Box
        inner = gymnasium.spaces.Dict({"speed": box(-9, 9, (2,)), "clock": gymnasium.spaces.Discrete(100)})
        parts = {"observation": box(-9, 9, (2,)), "desired_goal": box(-9, 9, (2,)), "body": inner}
        self.observation_space = gymnasium.spaces.Dict(parts)
        self.action_space = box(np.array([-2, -3], np.float32), np.array([2, 3], np.float32))
        self.far = far

    def _observation(self):
        body = {"speed": np.float32([self.steps, 0]), "clock": np.int64(self.steps)}
        goal = np.full(2, self.far, np.float32)
        return {"observation": self.place.astype(np.float32), "desired_goal": goal, "body": body}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place, self.steps = self.np_random.normal(size=2), 0
        return self._observation(), {}

    def step(self, action):
        self.place, self.steps = self.place + action, self.steps + 1
        return self._observation(), float(-self.steps), self.steps == 5, False, {}


gymnasium.register("Reach-v0", entry_point="test_readers_formats:Reach", max_episode_steps=20, kwargs={"far": 2.0})


@pytest.fixture
def storage(tmp_path, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "sets"))
    return tmp_path / "sets"


def record(name, identifier, episodes=2, steps=None, **options):
    """A set of random actions; an episode is left after `steps`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collector = minari.DataCollector(gymnasium.make(name), record_infos=True, **options)
        collector.action_space.seed(0)
        for episode in range(episodes):
            collector.reset(seed=episode)
            over, step = False, 0
            while not over and (steps is None or step < steps):
                *_, done, cut, _ = collector.step(collector.action_space.sample())
                over, step = done or cut, step + 1
        made = collector.create_dataset(identifier, algorithm_name="random", author="me", author_email="me@home")
        collector.close()
    return made


def test_the_transitions_of_a_minari_set(storage):
    made = record("Pendulum-v1", "test/pendulum-v0")
    task = load("minari:test/pendulum-v0")
    episodes = list(made.iterate_episodes())
    observations = np.concatenate([each.observations[:-1] for each in episodes])
    following = np.concatenate([each.observations[1:] for each in episodes])
    assert len(task.train) == 400
    np.testing.assert_array_equal(task.train.observation, observations)
    np.testing.assert_array_equal(task.train.next_observation, following)
    actions = np.concatenate([each.actions for each in episodes])
    np.testing.assert_allclose(task.train.action, actions / 2, atol=1.1e-5)
    np.testing.assert_allclose(task.train.reward, np.concatenate([each.rewards for each in episodes]), rtol=1e-6)
    assert (ends(task.train), terminated(task.train)) == ([199, 399], [])
    assert (task.bounds.low, task.bounds.high, task.bounds.origin) == ((-2.0,), (2.0,), "source")
    assert (task.provenance.reader, task.spec.horizon) == ("minari", 200)
    assert readers.reader_named("minari").read(storage / "test/pendulum-v0", Columns()).environment == "Pendulum-v1"
    played = load("minari:test/pendulum-v0", name="Pendulum-v1")
    np.testing.assert_array_equal(played.train.action, task.train.action)


@pytest.mark.parametrize("kind", ["hdf5", "arrow", "parquet"])
def test_dictionaries_are_joined_in_the_order_of_their_space(storage, kind):
    made = record("Reach-v0", "reach-v0", data_format=kind)
    task = load(storage / "reach-v0")
    episodes = [each.observations for each in made.iterate_episodes()]

    def of(each, rows):
        parts = [each["body"]["clock"], each["body"]["speed"], each["desired_goal"], each["observation"]]
        return np.concatenate([np.asarray(part)[rows].reshape(5, -1) for part in parts], axis=1)

    state = np.concatenate([of(each, slice(0, 5)) for each in episodes])
    np.testing.assert_array_equal(task.train.observation, state.astype(np.float32))
    following = np.concatenate([of(each, slice(1, 6)) for each in episodes])
    np.testing.assert_array_equal(task.train.next_observation, following.astype(np.float32))
    assert (ends(task.train), terminated(task.train)) == ([4, 9], [4, 9])
    assert (task.bounds.low, task.bounds.high) == ((-2.0, -3.0), (2.0, 3.0))
    assert list(task.provenance.assumed) == [
        "observations = body/clock, body/speed, desired_goal, observation",
        "the index body/clock is taken as a number",
        "recorded in Reach-v0 with far",
    ]


def test_keys_of_a_minari_set(storage):
    made = record("Reach-v0", "reach-v0")
    task = load(storage / "reach-v0", Columns(observation=("observation", "desired_*")))
    episodes = [each.observations for each in made.iterate_episodes()]
    state = np.concatenate([np.concatenate([e["observation"][:-1], e["desired_goal"][:-1]], 1) for e in episodes])
    np.testing.assert_array_equal(task.train.observation, state)
    for path in (storage / "reach-v0", storage / "reach-v0/data", storage / "reach-v0/data/main_data.hdf5"):
        assert readers.reader_of(path)[0] == "minari"
        assert len(load(path).train) == 10
    for name in ("reward", "termination", "truncation", "episode", "time"):
        refused(f"has its own {name}: leave it out", load, storage / "reach-v0", Columns(**{name: "rewards"}))
    refused("objekt", load, storage / "reach-v0", Columns(observation=("objekt",)))


def test_an_episode_that_was_left_is_cut(storage):
    record("Reach-v0", "reach-v0", episodes=3, steps=3)
    task = load("minari:reach-v0")
    assert (ends(task.train), terminated(task.train)) == ([2, 5, 8], [])  # Minari marks the episodes it cuts itself


def test_the_environment_is_not_made(storage, monkeypatch):
    record("Reach-v0", "reach-v0")
    monkeypatch.setattr(gymnasium, "make", lambda *_, **__: pytest.fail("made"))
    change(storage / "reach-v0", env_spec='{"id": "X-v0", "entry_point": "os:abort", "kwargs": {}}')
    assert readers.reader_named("minari").read(storage / "reach-v0", Columns()).environment == "X-v0"
    entry = "gymnasium_robotics.envs.adroit_hand.adroit_pen:AdroitHandPenEnv"
    change(storage / "reach-v0", env_spec=json.dumps({"id": "AdroitHandPen-v1", "entry_point": entry}))
    found = readers.reader_named("minari").read(storage / "reach-v0", Columns())
    assert found.environment == "gymnasium_robotics:AdroitHandPen-v1"
    for other in ("no JSON", "[]", None, 3, '{"id": 3}'):
        change(storage / "reach-v0", env_spec=other)
        assert readers.reader_named("minari").read(storage / "reach-v0", Columns()).environment is None
    change(storage / "reach-v0", observation_space=None)
    refused("has no observation_space, and the environment is not made", load, storage / "reach-v0")


def change(folder, **fields):
    file = folder / "data" / "metadata.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def edit(folder, use):
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as file:
        use(file)


def put(name, values):
    def use(file):
        del file[name]
        if values is not None:
            file[name] = values

    return lambda folder: edit(folder, use)


def cut(folder):
    file = folder / "data" / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:-2000])


BOX = {"type": "Box", "dtype": "float32", "shape": [2], "low": [-1, -1], "high": [1, 1]}


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        (lambda folder: shutil.rmtree(folder / "data"), "no folder data|no reader recognises"),
        (lambda folder: (folder / "data" / "main_data.hdf5").unlink(), "cannot be read as a Minari set"),
        (cut, "cannot be read as a Minari set"),
        (lambda folder: (folder / "data" / "metadata.json").write_text("{"), "is truncated or damaged|no reader"),
        (lambda folder: (folder / "data" / "metadata.json").unlink(), "no metadata.json|no reader"),
        (lambda folder: change(folder, data_format=None), "does not say the data_format"),
        (lambda folder: change(folder, total_episodes="2"), "does not say the total_episodes"),
        (lambda folder: change(folder, total_episodes=0), "has no episodes"),
        (lambda folder: change(folder, total_episodes=3), "cannot be read as a Minari set"),
        (lambda folder: change(folder, total_episodes=1), "has 5 steps, but its metadata.json says 10"),
        (lambda folder: change(folder, data_format="pickle"), "cannot be read as a Minari set"),
        (lambda folder: change(folder, minari_version="9.0.0"), "was written by Minari 9.0.0"),
        (lambda folder: change(folder, observation_space="{"), "cannot be read as a Minari set"),
        (lambda folder: change(folder, observation_space='{"type": "Odd"}'), "cannot be read as a Minari set"),
        (lambda folder: change(folder, action_space='{"type": "Discrete", "n": 3, "start": 0}'), "actions of Discrete"),
        (lambda folder: change(folder, action_space=json.dumps(BOX | {"shape": [3]})), "cannot be read as a Minari"),
        (lambda folder: change(folder, observation_space=json.dumps(BOX)), "cannot be read as a Minari|no array"),
        (put("episode_1/rewards", None), "cannot be read as a Minari set"),
        (put("episode_1/rewards", np.zeros(4)), "but 4 of rewards|4 rows of rewards"),
        (put("episode_1/rewards", np.full(5, np.nan)), "has nan in rewards, first in row 5"),
        (put("episode_1/rewards", texts(*"abcde")), "has no array of numbers in rewards in episode 1"),
        (put("episode_1/terminations", np.full(5, 2)), "has 2 in terminations"),
        (put("episode_1/actions", np.zeros((5, 3))), r"has actions of shape \(3,\) per row in episode 1"),
        (put("episode_1/actions", np.full((5, 2), 7.0)), None),
        (put("episode_1/observations/observation", np.zeros((5, 2))), "rows of"),
        (put("episode_1/observations/observation", None), "has no observation in episode 1"),
        (put("episode_1/observations", np.zeros((6, 2))), "cannot be read as a Minari set"),
    ],
)
def test_one_sentence_for_a_damaged_minari_set(storage, damage, match):
    record("Reach-v0", "reach-v0")
    damage(storage / "reach-v0")
    refused(match, load, "minari:reach-v0")
    refused(match, load, storage / "reach-v0")


def test_downloads_happen_by_name_alone_and_leave_nothing_half_done(storage, monkeypatch):
    def fails(identifier):
        (storage / identifier / "data").mkdir(parents=True)
        raise ConnectionError("no route to host. Try again later.\nOr not.")

    monkeypatch.setattr(minari, "download_dataset", fails)
    text = refused("cannot be downloaded", load, "minari:D4RL/pen/human-v2")
    assert "ConnectionError: no route to host" in text
    assert not (storage / "D4RL/pen/human-v2").exists()
    monkeypatch.setattr(minari, "download_dataset", lambda _: pytest.fail("downloaded"))
    refused("does not exist", load, storage / "reach-v0")
    for address in ("../secret-v0", "/tmp/none-v0", "pen human", ""):
        refused("neither a folder nor the name of a Minari set|no metadata.json", load, f"minari:{address}")
    (storage / "odd-v0").mkdir(parents=True)
    refused("has no folder data", load, "minari:odd-v0")


def test_what_minari_needs_is_named(storage, monkeypatch):
    record("Reach-v0", "reach-v0")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    monkeypatch.delitem(sys.modules, "minari.storage.remotes.huggingface", raising=False)
    refused("downloading needs huggingface_hub: pip install 'minari", load, "minari:D4RL/pen/human-v2")
    monkeypatch.setitem(sys.modules, "minari", None)
    refused(r"needs the package minari: pip install 'deflow\[data\]'", load, "minari:reach-v0")
    refused(r"needs the package minari: pip install 'deflow\[data\]'", load, storage / "reach-v0")
