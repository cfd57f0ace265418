"""Tables and LeRobot's folders: their rows, checked by hand, and one sentence for what cannot be read."""

import datetime
import json
import sys
import warnings

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

from deflow.data import Columns, UserData, load_task, readers
from deflow.errors import DataError, DatasetFileError, DataWarning

NAMED = Columns(observation=("joint_*", "speed"), action=("torque",), reward="paid", episode="ride")


def log(rows=12, episodes=3):
    """A robot's log. The columns lie in another order than the observation wants them."""
    generator = np.random.default_rng(0)
    return {
        "speed": generator.normal(size=rows),
        "torque": np.linspace(-40, 40, rows),
        "joint_b": generator.normal(size=rows),
        "joint_a": generator.normal(size=rows),
        "paid": generator.normal(size=rows),
        "ride": np.repeat(np.arange(episodes), rows // episodes),
    }


def write(tmp_path, columns, kind="csv"):
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    file = tmp_path / f"log.{kind}"
    csv.write_csv(table, file) if kind == "csv" else parquet.write_table(table, file)
    return file


def load(file, columns=NAMED, name="none", **changed):
    return load_task(name, UserData(file, columns=Columns.restore({**columns.given(), **changed})))


def ends(task):
    return np.flatnonzero(task.train.extras["trajectory_end"]).tolist()


def terminated(task):
    return np.flatnonzero(np.asarray(task.train.mask) == 0).tolist()


# --- tables


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_transitions_of_a_table(tmp_path, kind):
    columns = log()
    task = load(write(tmp_path, columns, kind))
    keep = np.setdiff1d(np.arange(12), [3, 7, 11])  # an episode's last row has no next state
    state = np.column_stack([columns["joint_b"], columns["joint_a"], columns["speed"]]).astype(np.float32)
    np.testing.assert_array_equal(task.train.observation, state[keep])
    np.testing.assert_array_equal(task.train.next_observation, state[keep + 1])
    np.testing.assert_array_equal(task.train.reward, columns["paid"][keep].astype(np.float32))
    np.testing.assert_allclose(task.train.action[:, 0], np.linspace(-1, 1, 12)[keep], atol=1.1e-5)
    assert (ends(task), terminated(task)) == ([2, 5, 8], [])
    assert (task.bounds.low, task.bounds.high, task.provenance.reader) == ((-40.0,), (40.0,), "table")
    assert list(task.provenance.assumed) == [
        "observations = joint_b, joint_a, speed",
        "actions = torque",
        "reward = paid",
        "episode = ride",
        "trajectories end where the episode changes",
    ]


def test_patterns_are_joined_in_the_order_given(tmp_path):
    columns = log()
    file = write(tmp_path, columns)
    task = load(file, observation=("speed", "joint_a", "joint_*"))
    np.testing.assert_array_equal(
        task.train.observation[0],
        np.asarray([columns[name][0] for name in ("speed", "joint_a", "joint_b")], np.float32),
    )
    recording = readers.reader_named("table").read(file, NAMED)
    assert recording.names == {"observations": ("joint_b", "joint_a", "speed"), "actions": ("torque",)}


def test_a_table_of_an_environment(tmp_path):
    angle, speed = np.linspace(-3, 3, 10), np.linspace(-8, 8, 10)
    columns = {"cos": np.cos(angle), "sin": np.sin(angle), "speed": speed, "torque": np.linspace(-2, 2, 10)}
    table = {**columns, "reward": -np.square(angle), "terminated": np.zeros(10, bool), "truncated": np.arange(10) == 9}
    named = Columns(observation=("cos", "sin", "speed"), action=("torque",))
    task = load(write(tmp_path, table), named, "Pendulum-v1")
    np.testing.assert_allclose(task.train.action[:, 0], np.linspace(-1, 1, 10)[:9], atol=1.1e-5)
    np.testing.assert_array_equal(task.train.next_observation[-1], np.asarray([np.cos(3), np.sin(3), 8], np.float32))
    assert (len(task.train), ends(task), terminated(task)) == (9, [8], [])
    assert "termination = terminated, by its name" in task.provenance.assumed
    other = Columns(observation=("cos", "sin"), action=("torque",))
    with pytest.raises(DatasetFileError, match=r"observations of shape \(2,\) per row, but Pendulum-v1 has \(3,\)"):
        load(tmp_path / "log.csv", other, "Pendulum-v1")


def test_terminations_beside_episodes_need_no_next_state(tmp_path):
    columns = {**log(), "terminated": np.arange(12) == 7}
    task = load(write(tmp_path, columns))
    assert (len(task.train), ends(task), terminated(task)) == (10, [2, 6, 9], [6])
    columns["truncated"] = (np.arange(12) == 1).astype(int)  # within the first episode
    task = load(write(tmp_path, columns))
    assert (len(task.train), ends(task), terminated(task)) == (9, [0, 1, 5, 8], [5])


def test_terminations_alone_end_trajectories(tmp_path):
    columns = log()
    del columns["ride"]
    named = Columns(observation=("joint_*",), action=("torque",), reward="paid")
    columns["terminated"] = np.isin(np.arange(12), [4, 11])
    task = load(write(tmp_path, columns), named)
    assert (len(task.train), ends(task), terminated(task)) == (12, [4, 11], [4, 11])
    columns["terminated"] = np.arange(12) == 4
    with pytest.raises(DatasetFileError, match="ends within a trajectory"):
        load(write(tmp_path, columns), named)


GAPS = np.arange(12) * 0.1 + np.where(np.arange(12) > 4, 0.2, 0.0)  # a gap after row 4


@pytest.mark.parametrize(
    "time",
    [
        GAPS,
        (GAPS * 10).round().astype(int),
        1_700_000_000_000_000_000 + (GAPS * 1e9).round().astype(np.int64),  # float64 would lose 128 ns
        np.datetime64("2026-01-31T14:30:00", "ns") + (GAPS * 1e9).round().astype("timedelta64[ns]"),
        pa.array(
            [(datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=s)).time() for s in (10 * GAPS).tolist()]
        ),
        [f"2026-01-31 14:30:{seconds:09.6f}" for seconds in 10 * GAPS],
        [f"2026-01-31T14:30:{seconds:09.6f}+02:00" for seconds in 10 * GAPS],
    ],
    ids=["seconds", "steps", "nanoseconds", "dates", "times of day", "text", "zones"],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_gaps_in_time_end_trajectories(tmp_path, time, kind):
    columns = {**log(), "time": time}
    del columns["ride"]
    task = load(write(tmp_path, columns, kind), episode=None)
    assert ends(task) == [3, 9]  # rows 4 and 11 have no next state
    assert task.provenance.assumed[-2] == "time = time, by its name"
    assert "trajectories end at 1 gaps in time" in task.provenance.assumed[-1]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()])
def test_text_of_every_kind(tmp_path, kind):
    time = pa.array([f"14:30:{seconds:09.6f}" for seconds in GAPS]).cast(kind)
    columns = {**log(), "time": time, "ride": pa.array(["a"] * 8 + ["b"] * 4).cast(kind)}
    assert ends(load(write(tmp_path, columns, "parquet"))) == [3, 5, 8]


def test_time_that_starts_again_ends_a_trajectory(tmp_path):
    columns = {**log(), "t": np.tile(np.arange(6), 2), "ride": np.zeros(12)}
    assert ends(load(write(tmp_path, columns), time="t")) == [4, 9]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    "ride",
    [
        ["a"] * 4 + ["b"] * 4 + ["a"] * 4,
        pa.array(["a"] * 4 + ["b"] * 4 + ["a"] * 4).dictionary_encode(),
        np.repeat([2**60, 2**60 + 1, 2**60], 4),  # the same as floats
        np.repeat([0.5, 1.5, 0.5], 4),
        np.repeat(np.datetime64("2026-01-01", "s") + np.arange(2), 4).tolist() + [datetime.datetime(2025, 1, 1)] * 4,
    ],
    ids=["text", "dictionary", "large", "floats", "dates"],
)
def test_an_episode_has_any_name(tmp_path, ride, kind):
    task = load(write(tmp_path, {**log(), "ride": ride}, kind))
    assert ends(task) == [2, 5, 8]
    if not isinstance(ride[0], datetime.datetime):
        assert task.provenance.assumed[-1] == "1 episodes come back further down, as trajectories of their own"


@pytest.mark.parametrize("kind", ["list", "fixed", "large", "nested"])
def test_lists_are_vectors(tmp_path, kind):
    state = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
    if kind == "nested":
        column = pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(state.ravel(), 3), 2)
    elif kind == "fixed":
        column = pa.FixedSizeListArray.from_arrays(state.ravel(), 6)
    else:
        column = pa.array(list(state), (pa.list_ if kind == "list" else pa.large_list)(pa.float32()))
    columns = {**log(), "state": column, "action": pa.array([[u] for u in np.linspace(-40, 40, 12)])}
    file = write(tmp_path, columns, "parquet")
    task = load(file, observation=("state",), action=("action",))
    wanted = state.reshape(12, 2, 3) if kind == "nested" else state
    np.testing.assert_array_equal(task.train.observation, wanted[[0, 1, 2, 4, 5, 6, 8, 9, 10]])
    assert (task.spec.action_size, task.bounds.low) == (1, (-40.0,))
    if kind != "nested":
        wider = load(file, observation=("speed", "state"), action=("action",))
        np.testing.assert_array_equal(wider.train.observation[0], [np.float32(columns["speed"][0]), *state[0]])


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_every_kind_of_number_is_one(tmp_path, kind):
    columns = {
        **log(),
        "joint_a": np.arange(12, dtype=np.uint8),  # no pixel
        "joint_b": np.arange(12) % 2 == 0,
        "speed": pa.array([f"{i}.25" for i in range(12)]).cast(pa.decimal128(6, 2)),
        "paid": np.arange(12, dtype=np.int16),
    }
    task = load(write(tmp_path, columns, kind))
    assert task.spec.observation_dtype == "float32"
    np.testing.assert_array_equal(task.train.observation[1], [0, 1, 1.25])
    alone = load(tmp_path / f"log.{kind}", observation=("joint_a",))
    assert (alone.spec.observation_dtype, alone.spec.observation_shape) == ("float32", (1,))
    np.testing.assert_array_equal(alone.train.observation[:, 0], [0, 1, 2, 4, 5, 6, 8, 9, 10])


def test_a_number_that_is_no_integer_may_come_late(tmp_path):
    """The types are those of all rows, not of the first megabyte's."""
    rows = 200_000
    lines = [f"{i % 7},{i % 5},0,{i // 100}" for i in range(rows)]
    lines[-2] = "0.5,2.5,0.25,1999"
    file = tmp_path / "log.csv"
    file.write_text("\n".join(["x,u,reward,episode", *lines]) + "\n")
    assert file.stat().st_size > 1 << 20
    task = load(file, Columns(observation=("x",), action=("u",)))
    assert (float(task.train.observation[-1, 0]), float(task.train.reward[-1])) == (0.5, 0.25)
    assert task.trajectories == 2_000


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_float64_is_rounded_once_and_what_it_loses_is_said(tmp_path, kind):
    columns = log()
    columns["speed"] = 0.1 + np.arange(12) / 3
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task = load(write(tmp_path, columns, kind))
    np.testing.assert_array_equal(task.train.observation[:3, 2], columns["speed"][:3].astype(np.float32))
    columns["speed"] = 900_000_000 + np.arange(12)
    with pytest.warns(DataWarning, match=r"coordinate 2 varies by 11 around 9e\+08"):
        load(write(tmp_path, columns, kind))


@pytest.mark.parametrize(("separator", "word"), [(";", "semicolons"), ("\t", "tabs"), ("|", "bars")])
def test_other_separators(tmp_path, separator, word):
    lines = ["\ufeffx, u,reward,episode,note", *(f'{i}, {i / 4},{i}, {i // 4},"a, b"' for i in range(8))]
    text = "\r\n".join(line.replace(",", separator).replace(f"a{separator} b", "a, b") for line in lines)
    file = tmp_path / "log.tsv"
    file.write_text(text, encoding="utf-8")
    task = load(file, Columns(observation=("x",), action=("u",)))
    np.testing.assert_array_equal(task.train.observation[:, 0], [0, 1, 2, 4, 5, 6])
    assert list(task.provenance.assumed[-2:]) == ["left out: note", f"{word} separate the cells"]


def test_rewards_in_last_rows_alone_are_not_lost_in_silence(tmp_path):
    columns = {**log(), "paid": np.where(np.arange(12) % 4 == 3, 0.0, -1.0)}
    with pytest.raises(DatasetFileError, match=r"the reward -1 everywhere but in the last rows .*such as row 3"):
        load(write(tmp_path, columns))
    task = load(write(tmp_path, {**columns, "done": np.arange(12) % 4 == 3}), termination="done")
    np.testing.assert_array_equal(task.train.reward, columns["paid"])
    assert terminated(task) == ends(task) == [3, 7, 11]


def test_tables_are_known_by_their_content(tmp_path):
    for kind in ("csv", "parquet"):
        file = write(tmp_path, log(), kind).rename(tmp_path / f"{kind}-without-ending")
        assert readers.reader_of(file) == ("table", file)
    text = "# Title\n\nSome text, with commas.\n"
    for content in (text, '{"a": 1, "b": 2}\n{"a": 3, "b": 4}\n', "a,b\nc,d\n", "1,2\n3,4\n", "abc\n1\n"):
        (tmp_path / "other").write_text(content)
        with pytest.raises(DatasetFileError, match="a text file, which no reader recognises"):
            readers.reader_of(tmp_path / "other")
    np.savez(tmp_path / "log.npz", observations=np.zeros(3))
    assert readers.reader_of((tmp_path / "log.npz").rename(tmp_path / "log.csv"))[0] == "npz"  # its content decides


@pytest.mark.parametrize("module", ["pyarrow", "pyarrow.csv"])
def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch, module):
    file = write(tmp_path, log())
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataError, match=r"^Reading tables needs the package pyarrow: pip install 'deflow\[data\]'\.$"):
        load(file)


# --- malformed tables

HEADER = "x,u,reward,episode,time"
ROWS = ["1,0.1,0,a,0", "2,0.2,1,a,1", "3,0.3,0,b,0", "4,0.4,1,b,1"]


def text(*rows, header=HEADER):
    return "\n".join([header, *(rows or ROWS)]) + "\n"


def changed(row, new):
    return text(*(new if index == row else line for index, line in enumerate(ROWS)))


GIVEN = {"observation": ("x",), "action": ("u",)}


@pytest.mark.parametrize(
    ("content", "named", "match"),
    [
        (
            text(),
            {"observation": ()},
            r"what the observation is: name its columns .*it has x, u, reward, episode, time",
        ),
        (text(), {"action": ()}, r"what the action is: name its columns .*; it has x, u, reward, episode, time"),
        (text(), {"observation": ("y",)}, "Unknown column for the observation 'y'"),
        (text(), {"observation": ("*",)}, "'u' would be in the observation and in the action"),
        (text(), {"reward": "re*", "episode": "e*", "time": "[ut]*"}, r"2 columns that match '\[ut\]\*' \(u, time\)"),
        (text(header="x,u,money,episode,time"), {}, r"has no reward: name its column .*it has x, u, money"),
        (text(header="x,u,reward,ride,t"), {}, "does not say where trajectories end"),
        (text(header="x,u,reward,truncated,t"), {}, "does not say where trajectories end"),
        (text(header="x,u,reward,time,timestamp"), {}, "the columns time and timestamp: name the one that is the time"),
        (text(header="x,u,reward,terminated,time"), {}, "the text 'a' in the column 'terminated', first in row 0"),
        (changed(2, "3,0.3,0,1.5,0"), {"truncation": "reward", "termination": "x"}, "2 in the column 'x'.* in row 1"),
        (changed(2, ",0.3,0,b,0"), {}, "no value in the column 'x', first in row 2"),
        (changed(1, "2,NaN,1,a,1"), {}, "no value in the column 'u', first in row 1"),
        (changed(1, "2,0.2,1,,1"), {}, "no value in the column 'episode', first in row 1"),
        (changed(1, "2,0.2,1,a,"), {}, "no value in the column 'time', first in row 1"),
        (changed(3, "4,0.4,inf,b,1"), {}, "inf in the column 'reward', first in row 3"),
        (changed(3, "four,0.4,1,b,1"), {}, "the text 'four' in the column 'x', first in row 3"),
        (changed(3, '4,"0,4",1,b,1'), {}, "the text '0,4' in the column 'u', first in row 3: .*not a comma"),
        (changed(1, "2,0.2,1,a,noon"), {}, "text such as '0' in the column 'time', which is no time"),
        (changed(2, "2026-01-31,0.3,0,b,0"), {}, "the text '1' in the column 'x'|'2026-01-31' in the column 'x'"),
        (changed(2, "3,0.3,0"), {}, "3 cells in row 2, but 5 in its header"),
        (changed(0, "1,0.1,0,a,0,7"), {}, "6 cells in row 0, but 5 in its header"),
        (text(header="x,x,reward,episode,time"), {"action": ("time",)}, "2 columns 'x': rename them"),
        (text(header="x,u,u,episode,time"), {"reward": "time"}, "2 columns 'u': rename them"),
        (HEADER + "\n", {}, "has no rows"),
        (HEADER, {}, "has no rows"),
        ("", {}, "an empty file, not a table"),
        (text().replace(",", " "), {}, "has one column, 'x u reward episode time': separate the cells"),
        ("\n".join(ROWS).replace("a", "5").replace("b", "6"), {}, "begins with numbers .*add a first line of names"),
        (text().encode("utf-16"), {}, "no text in UTF-8"),
        (b"\x89HDF\r\n\x1a\n" + b"0" * 100, {}, "an HDF5 file, not a table"),
        (b"\x80\x04\x95" + b"0" * 100, {}, "pickle file .*not a table"),
        (text().encode() + b"5,\xff,1,b,2\n", {}, "no text in UTF-8"),
        (text('"1,0.1,0,a,0', *ROWS), {}, "1 cells in row 0, but 5 in its header"),
    ],
)
def test_one_sentence_for_a_malformed_csv_file(tmp_path, content, named, match):
    file = tmp_path / "log.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    refuse(file, {**GIVEN, **named}, match, "table")


def refuse(path, named, match, reader):
    with pytest.raises(DataError, match=match) as caught:
        load_task("none", UserData(path, columns=Columns.restore(named), reader=reader))
    said = str(caught.value)
    assert "\n" not in said
    assert said.endswith((".", ")"))
    assert str(path) in said or said.startswith("Unknown column")
    assert type(caught.value).__name__.endswith("Error")


def table(**changed):
    return {"x": [1.0, 2.0, 3.0], "u": [0.1, 0.2, 0.3], "reward": [0, 1, 0], "episode": ["a", "a", "a"], **changed}


@pytest.mark.parametrize(
    ("columns", "match"),
    [
        (table(x=[1.0, None, 3.0]), "no value in the column 'x', first in row 1"),
        (table(x=[1.0, np.nan, 3.0]), "nan in the column 'x', first in row 1"),
        (table(x=pa.nulls(3)), "no value in the column 'x', first in row 0"),
        (table(x=[[1.0, 2.0], [3.0], [4.0, 5.0]]), r"different lengths in the column 'x' \(2 in row 0, 1 in row 1\)"),
        (table(x=[[1.0, 2.0], [3.0, None], [4.0, 5.0]]), "no value in the column 'x', first in row 1"),
        (table(x=[[1.0, 2.0], None, [4.0, 5.0]]), "no value in the column 'x', first in row 1"),
        (table(x=[[1.0, 2.0], [3.0, 4.0], [4.0, np.inf]]), "inf in the column 'x', first in row 2"),
        (table(x=pa.array([[], [], []], pa.list_(pa.float32()))), "empty lists in the column 'x'"),
        (table(x=[{"a": 1.0}] * 3), r"the type struct<a: double> in the column 'x'"),
        (table(x=[b"a", b"b", b"c"]), "the type binary in the column 'x'"),
        (table(x=[datetime.date(2026, 1, 1)] * 3), "the type date32.day. in the column 'x'"),
        (table(x=["1", "2", "3"]), "numbers as text in the column 'x'"),
        (table(x=pa.array(["1", "", "3"]).dictionary_encode()), "no value in the column 'x', first in row 1"),
        (table(reward=[[1.0, 2.0]] * 3), "2 numbers per row in the column 'reward'"),
        (table(reward=["a", "b", "c"]), "the text 'a' in the column 'reward', first in row 0"),
        (table(terminated=[0, 2, 1]), "2 in the column 'terminated', first in row 1"),
        (table(truncated=[0.0, 0.5, 1.0]), "0.5 in the column 'truncated', first in row 1"),
        (table(episode=["a", None, "b"]), "no value in the column 'episode', first in row 1"),
        (table(episode=[0.0, np.nan, 1.0]), "nan in the column 'episode', first in row 1"),
        (table(episode=[{"a": 1}] * 3), "the type struct<a: int64> in the column 'episode'"),
        (table(time=["0", "1", "2"]), "text such as '0' in the column 'time'"),
        (table(time=[0.0, np.nan, 1.0]), "nan in the column 'time', first in row 1"),
        (table(time=[0.0, 0.0, 0.0]), "every row ends a trajectory"),
        (table(x=[1e12, 1.0, 1.0]), "1000000000000.0 in observations, first in row 0"),
        ({name: values[:0] for name, values in table().items()}, "has no rows"),
        (pa.table([[1.0]] * 5, ["x", "x", "u", "reward", "episode"]), "2 columns 'x': rename them"),
    ],
)
def test_one_sentence_for_a_malformed_parquet_file(tmp_path, columns, match):
    refuse(write(tmp_path, columns, "parquet"), GIVEN, match, None)


@pytest.mark.parametrize("damage", ["cut", "tail", "changed", "empty", "text", "lfs", "folder"])
def test_one_sentence_for_a_damaged_parquet_file(tmp_path, damage):
    file = write(tmp_path, log(3_000), "parquet")
    whole = file.read_bytes()
    contents = {
        "cut": whole[: len(whole) // 2],
        "tail": whole[:-4],
        "changed": whole[:4] + bytes(len(whole) - 2_000) + whole[-1_996:],
        "empty": b"",
        "text": b"a,b\n1,2\n",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
        "folder": b"",
    }
    file.write_bytes(contents[damage])
    if damage == "folder":
        file.unlink()
        file.mkdir()
    match = {"empty": "an empty file", "text": "a text file", "lfs": "git lfs pull", "folder": "a folder"}
    reader = "table" if damage == "folder" else None
    refuse(file, NAMED.given(), match.get(damage, "is truncated or damaged"), reader)


# --- LeRobot


def feature(shape, dtype="float32", names=None):
    return {"dtype": dtype, "shape": list(shape), "names": names}


LENGTHS = (4, 3, 5)


def robot(folder, lengths=LENGTHS, version="v3.0", more=None, files=2, info=None, columns=None):
    """A LeRobot set of 3 episodes with a state of 2, an action of 1, and a camera. Returns its columns."""
    rows = sum(lengths)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    frame = np.concatenate([np.arange(length) for length in lengths])
    state = np.random.default_rng(0).normal(size=(rows, 2)).astype(np.float32)
    found = {
        "observation.state": pa.FixedSizeListArray.from_arrays(state.ravel(), 2),
        "action": pa.array([[u] for u in np.linspace(-3, 3, rows)], pa.list_(pa.float32())),
        "timestamp": (frame / 10).astype(np.float32),
        "frame_index": frame,
        "episode_index": episode,
        "index": np.arange(rows),
        "task_index": np.zeros(rows, int),
        **(more or {}),
        **(columns or {}),
    }
    one = {name: feature([1], "int64") for name in ("frame_index", "episode_index", "index", "task_index")}
    features = {
        "observation.state": feature([2], names={"motors": ["shoulder", "elbow"]}),
        "action": feature([1], names=["force"]),
        "observation.images.top": feature([48, 64, 3], "video", ["height", "width", "channel"]),
        "timestamp": feature([1]),
        **one,
        **{
            name: feature([1], "bool" if np.asarray(values).dtype == bool else "float32")
            for name, values in (more or {}).items()
        },
    }
    old = version.startswith("v2")
    path = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
    old_path = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    described = {
        "codebase_version": version,
        "fps": 10,
        "total_episodes": len(lengths),
        "total_frames": rows,
        "total_tasks": 1,
        "splits": {"train": f"0:{len(lengths)}"},
        "data_path": old_path if old else path,
        "features": features,
        **(info or {}),
    }
    (folder / "meta").mkdir(parents=True)
    (folder / "data" / "chunk-000").mkdir(parents=True)
    (folder / "meta" / "info.json").write_text(json.dumps({k: v for k, v in described.items() if v is not None}))
    data, starts = pa.table(found), np.append(0, np.cumsum(lengths))
    groups = range(len(lengths)) if old else range(files)
    for number in groups:
        begin, end = (number, number + 1) if old else ((0, 2), (2, len(lengths)))[number]
        name = f"episode_{number:06d}" if old else f"file-{number:03d}"
        part = data.slice(starts[begin], starts[end] - starts[begin])
        parquet.write_table(part, folder / "data" / "chunk-000" / f"{name}.parquet")
    return {**found, "observation.state": state, "action": np.linspace(-3, 3, rows)}


LAST = np.cumsum(LENGTHS) - 1  # 3, 6, 11


@pytest.mark.parametrize("version", ["v3.0", "v3.1", "v2.1", "v2.0"])
def test_demonstrations_of_lerobot(tmp_path, version):
    columns = robot(tmp_path / "set", version=version)
    task = load_task("none", tmp_path / "set")
    state = columns["observation.state"]
    np.testing.assert_array_equal(task.train.observation, state)  # last rows too: they terminate
    np.testing.assert_allclose(task.train.action[:, 0], np.linspace(-1, 1, 12), atol=1.1e-5)
    np.testing.assert_array_equal(task.train.reward, np.isin(np.arange(12), LAST))
    assert ends(task) == terminated(task) == LAST.tolist()
    within = np.setdiff1d(np.arange(12), LAST)
    np.testing.assert_array_equal(np.asarray(task.train.next_observation)[within], state[within + 1])
    assert (task.provenance.reader, task.spec.horizon) == ("lerobot", 5)
    assert list(task.provenance.assumed) == [
        "observations = observation.state",
        "actions = action",
        "left out: observation.images.top (video)",
        "trajectories end where the episode changes and at 0 gaps in time (more than 1.5 times the median step, or not "
        "forward)",
        "the set has neither rewards nor successes, so its episodes are taken for demonstrations that succeed: an "
        "episode terminates at its last row with the reward 1, and all other rewards are 0",
    ]
    recording = readers.reader_named("lerobot").read(tmp_path / "set", Columns())
    assert recording.names == {"observations": ("shoulder", "elbow"), "actions": ("force",)}


def test_recorded_rewards_of_lerobot(tmp_path):
    rewards = np.arange(12, dtype=np.float32)
    done = np.isin(np.arange(12), LAST)
    robot(tmp_path / "set", more={"next.reward": rewards, "next.done": done})
    task = load_task("none", tmp_path / "set")
    keep = np.setdiff1d(np.arange(12), LAST)  # whether an episode terminated is not known
    np.testing.assert_array_equal(task.train.reward, rewards[keep])
    assert (ends(task), terminated(task)) == ([2, 4, 8], [])
    named = load_task("none", UserData(tmp_path / "set", columns=Columns(termination="next.done")))
    np.testing.assert_array_equal(named.train.reward, rewards)
    assert terminated(named) == LAST.tolist()


def test_a_success_at_the_end_terminates(tmp_path):
    success = np.isin(np.arange(12), [5, 6, 9])  # the second episode ends in one, the third goes on
    robot(tmp_path / "set", more={"next.success": success})
    task = load_task("none", tmp_path / "set")
    keep = np.setdiff1d(np.arange(12), [3, 11])
    np.testing.assert_array_equal(task.train.reward, success[keep])
    assert (ends(task), terminated(task)) == ([2, 5, 9], [5])
    rewards = np.linspace(0, 1, 12).astype(np.float32)
    robot(tmp_path / "both", more={"next.success": success, "next.reward": rewards})
    both = load_task("none", tmp_path / "both")
    np.testing.assert_array_equal(both.train.reward, rewards[keep])
    assert terminated(both) == [5]


def test_a_reward_at_the_end_alone_is_not_lost_in_silence(tmp_path):
    last = np.isin(np.arange(12), LAST)
    robot(tmp_path / "set", more={"next.reward": last.astype(np.float32), "next.done": last})
    with pytest.raises(DatasetFileError, match=r"the reward 0 everywhere but in the last rows .*columns.termination"):
        load_task("none", tmp_path / "set")
    task = load_task("none", UserData(tmp_path / "set", columns=Columns(termination="next.done")))
    np.testing.assert_array_equal(task.train.reward, last)


def test_missing_frames_and_early_ends_cut_an_episode(tmp_path):
    frame = np.concatenate([np.arange(length) for length in LENGTHS])
    frame[9:] += 3  # frames were removed from the third episode
    done = np.isin(np.arange(12), [*LAST, 1])
    robot(tmp_path / "set", columns={"frame_index": frame}, more={"next.done": done})
    task = load_task("none", tmp_path / "set")
    keep = np.setdiff1d(np.arange(12), [1, 8])
    np.testing.assert_array_equal(task.train.reward, np.isin(keep, LAST))  # an episode's last row, no other end
    assert (ends(task), terminated(task)) == ([0, 2, 5, 6, 9], [2, 5, 9])
    assert "1 more trajectories end where next.done is 1" in task.provenance.assumed


def test_other_columns_and_an_environment(tmp_path):
    angle = np.linspace(-3, 3, 12).astype(np.float32)
    more = {"observation.cos": np.cos(angle), "observation.sin": np.sin(angle), "observation.speed": 2 * angle}
    columns = robot(tmp_path / "set", more=more, columns={"action": np.linspace(-2, 2, 12).astype(np.float32)})
    named = Columns(observation=("observation.cos", "observation.s[ip]*"))
    task = load_task("Pendulum-v1", UserData(tmp_path / "set", columns=named))
    np.testing.assert_array_equal(task.train.observation[3], [more[name][3] for name in more])
    np.testing.assert_allclose(task.train.action[:, 0], np.linspace(-1, 1, 12), atol=1.1e-5)
    named = Columns(observation=("observation.speed", "observation.state"))
    joined = load_task("none", UserData(tmp_path / "set", columns=named)).train.observation
    np.testing.assert_array_equal(joined[5], [2 * angle[5], *columns["observation.state"][5]])
    assert load_task("none", tmp_path / "set").train.observation.shape == (12, 2)


def test_what_is_not_told_apart_is_said(tmp_path):
    robot(tmp_path / "set", info={"total_tasks": 2, "splits": {"train": "0:2", "val": "2:3"}})
    assumed = load_task("none", tmp_path / "set").provenance.assumed
    assert "its 2 tasks are one: the observation does not say which it is" in assumed
    assert "its splits (train, val) are read together" in assumed


FEATURES = {"observation.state": feature([2]), "action": feature([1]), "episode_index": feature([1], "int64")}


@pytest.mark.parametrize(
    ("info", "match"),
    [
        ({"codebase_version": "v1.6"}, r"codebase_version 'v1.6', and v2.0, v2.1, v3.\* are read"),
        ({"codebase_version": "v4.0"}, "codebase_version 'v4.0'"),
        ({"codebase_version": None}, "codebase_version None"),
        ({"features": None}, "has no features"),
        ({"features": [1]}, "has no features"),
        ({"features": {"action": 3}}, "has no features"),
        ({"features": {}}, "Unknown column for the observation 'observation.state'"),
        ({"features": {"observation.state": feature([2])}}, "Unknown column for the action 'action'"),
        (
            {"features": {**FEATURES, "observation.state": feature([3])}},
            r"2 numbers per row .*but meta/info.json says 3",
        ),
        ({"features": {**FEATURES, "action": {"dtype": "float32", "shape": "1"}}}, "has action of shape '1'"),
        (
            {"features": {**FEATURES, "next.reward": feature([1])}},
            "no column 'next.reward', which meta/info.json names",
        ),
        ({"features": {**FEATURES, "observation.state": feature([2], "image")}}, "the observation 'observation.state'"),
        ({"total_frames": 20}, "12 rows, but meta/info.json says 20: files are missing"),
        ({"total_frames": "many"}, "12 rows, but meta/info.json says many"),
        ({"data_path": "../other/*.parquet"}, "which leaves its folder"),
        ({"data_path": "/etc/*.parquet"}, "which leaves its folder"),
        ({"data_path": "train/{x}.parquet"}, r"has no files train/\*.parquet"),
        ({"data_path": "a**b"}, r"has no files a\*\*b"),
        ({"data_path": "meta/info.json"}, "info.json is a text file, not a Parquet file"),
    ],
)
def test_one_sentence_for_a_wrong_description(tmp_path, info, match):
    robot(tmp_path / "set", info=info)
    refuse(tmp_path / "set", {}, match, None)


def damage(folder, kind):
    data, info = folder / "data" / "chunk-000", folder / "meta" / "info.json"
    first = data / "file-000.parquet"
    if kind == "no meta":
        info.unlink()
    elif kind == "cut meta":
        info.write_text(info.read_text()[:100])
    elif kind == "list":
        info.write_text("[1, 2]")
    elif kind == "latin":
        info.write_bytes(b'{"a": "\xff"}')
    elif kind == "no data":
        for file in data.iterdir():
            file.unlink()
    elif kind == "one file":
        (data / "file-001.parquet").unlink()
    elif kind == "cut data":
        first.write_bytes(first.read_bytes()[:-50])
    elif kind == "pointer":
        first.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")
    elif kind == "no column":
        parquet.write_table(parquet.read_table(first).drop(["action"]), first)
    elif kind == "other size":
        rows = parquet.read_table(first)
        wide = pa.array([[0.0] * 3] * len(rows))
        parquet.write_table(rows.set_column(0, "observation.state", wide), first)


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        ("no meta", "has no meta/info.json"),
        ("cut meta", r"info.json is truncated or damaged \(JSONDecodeError\)"),
        ("list", "codebase_version None"),
        ("latin", r"info.json is truncated or damaged \(UnicodeDecodeError\)"),
        ("no data", r"has no files data/chunk-\*/file-\*.parquet"),
        ("one file", "7 rows, but meta/info.json says 12"),
        ("cut data", "file-000.parquet is truncated or damaged"),
        ("pointer", "file-000.parquet is a pointer of Git LFS"),
        ("no column", "file-000.parquet has no column 'action'"),
        ("other size", "3 numbers per row in the column 'observation.state', but meta/info.json says 2"),
    ],
)
def test_one_sentence_for_a_damaged_set(tmp_path, kind, match):
    robot(tmp_path / "set")
    damage(tmp_path / "set", kind)
    refuse(tmp_path / "set", {}, match, None)


@pytest.mark.parametrize(
    ("more", "named", "match"),
    [
        (
            {},
            {"observation": ("observation.images.top",)},
            "Unknown column for the observation 'observation.images.top'",
        ),
        ({}, {"observation": ("*",)}, "'action' would be in the observation and in the action"),
        ({}, {"reward": "*index"}, r"4 columns that match '\*index'"),
        ({"fell": np.arange(12) == 3}, {"termination": "fell"}, "has no rewards, and a termination may be good or bad"),
        ({"next.success": np.arange(12.0)}, {}, "2 in the column 'next.success', first in row 2"),
        ({"next.reward": np.full(12, np.nan)}, {}, "nan in the column 'next.reward', first in row 0"),
        ({"next.reward": [0.0, None] * 6}, {}, "no value in the column 'next.reward', first in row 1"),
        ({"next.reward": ["a"] * 12}, {}, "the text 'a' in the column 'next.reward', first in row 0"),
    ],
)
def test_one_sentence_for_wrong_columns_of_lerobot(tmp_path, more, named, match):
    robot(tmp_path / "set", more=more)
    refuse(tmp_path / "set", named, match, None)


def test_a_file_is_no_lerobot_set(tmp_path):
    file = write(tmp_path, log(), "parquet")
    refuse(file, {}, "is no folder, and a LeRobot set is one", "lerobot")
