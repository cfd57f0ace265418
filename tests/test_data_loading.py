"""Loading: what a file must hold, whose rewards it gets, and the sentence for each way it can be wrong."""

import warnings

import gymnasium
import numpy as np
import pytest

from deflow.data import Collected, Official, UserData, is_at_hand, load_task
from deflow.data.relabelling import relabel
from deflow.environments import Environment, parse_task_name
from deflow.errors import DataError, DatasetFileError, DataWarning, UnknownTaskError

MAZE = "pointmaze-medium-navigate-singletask-task1-v0"


def maze_columns(rows=40):
    """Two trajectories in OGBench's format; some rows of the second are at task 1's goal, (20, 20)."""
    generator = np.random.default_rng(0)
    positions = generator.uniform(0, 8, (rows, 2)).astype(np.float32)
    positions[30:33] = 20.0
    terminals = np.zeros(rows, bool)
    terminals[[14, rows - 1]] = True
    actions = generator.uniform(-1, 1, (rows, 2)).astype(np.float32)
    return {"observations": positions, "actions": actions, "terminals": terminals, "qpos": positions.copy()}


def save(tmp_path, columns, name="mine.npz"):
    np.savez(tmp_path / name, **columns)
    return UserData(tmp_path / name)


def test_rows_become_transitions_that_never_cross_a_trajectorys_end(tmp_path):
    columns = maze_columns()
    columns["actions"][3] = 1.0
    task = load_task(MAZE, save(tmp_path, columns))
    rows = [*range(14), *range(15, 39)]
    batch = task.train
    np.testing.assert_array_equal(batch.observation, columns["observations"][rows])
    np.testing.assert_array_equal(batch.next_observation, columns["observations"][np.asarray(rows) + 1])
    np.testing.assert_allclose(batch.action, columns["actions"][rows], atol=1.1e-5)
    assert np.abs(batch.action).max() < 1
    np.testing.assert_array_equal(np.flatnonzero(batch.extras["trajectory_end"]), [13, 37])
    np.testing.assert_array_equal(np.flatnonzero(np.asarray(batch.mask) == 0), [29, 30, 31])
    np.testing.assert_array_equal(batch.reward, np.asarray(batch.mask) * -1.0)
    assert {str(column.dtype) for column in (batch.observation, batch.action, batch.reward, batch.mask)} == {"float32"}
    assert (len(batch), task.trajectories, task.terminations) == (38, 2, 3)
    assert (task.name, task.validation, task.provenance.source) == (MAZE, None, "user")
    assert task.spec == Environment(MAZE).spec()


def test_rewards_of_the_file_win_over_the_tasks(tmp_path):
    columns = {**maze_columns(), "rewards": np.arange(40.0), "masks": np.arange(40) != 7}
    task = load_task(MAZE, save(tmp_path, columns))
    np.testing.assert_array_equal(task.train.reward, [*range(14), *range(15, 39)])
    np.testing.assert_array_equal(np.flatnonzero(np.asarray(task.train.mask) == 0), [7])


def test_a_file_with_next_observations_keeps_every_row(tmp_path):
    columns = {**maze_columns(), "rewards": np.zeros(40), "masks": np.arange(40) != 39}
    following = np.roll(columns["observations"], -1, axis=0)
    following[[14, 39]] = 3.25  # what followed at the ends stands in no other row
    columns["next_observations"] = following
    batch = load_task(MAZE, save(tmp_path, columns)).train
    assert len(batch) == 40
    np.testing.assert_array_equal(batch.next_observation, following)
    np.testing.assert_array_equal(batch.extras["trajectory_end"], columns["terminals"])


def test_any_gymnasium_environment_with_actions_in_its_own_units(tmp_path):
    columns = {
        "observations": np.zeros((5, 3)),
        "actions": np.linspace(-2, 2, 5)[:, None],
        "rewards": np.ones(5),
        "masks": np.asarray([1, 1, 0, 1, 1]),
        "terminals": np.asarray([0, 0, 0, 0, 1]),
    }
    validation = save(tmp_path, columns, "more.npz").path
    task = load_task("Pendulum-v1", UserData(save(tmp_path, columns).path, validation))
    np.testing.assert_allclose(task.train.action[:, 0], [-0.99999, -0.5, 0, 0.5], atol=1e-6)
    assert task.spec.action_size == 1
    assert task.validation is not None
    assert len(task.validation) == 4
    columns["actions"][2] = -3.0
    with pytest.raises(DatasetFileError, match=r"in row 2, coordinate 0, which lies beyond its bounds, "):
        load_task("Pendulum-v1", save(tmp_path, columns))


@pytest.mark.parametrize(
    "name",
    [
        "cube-double-play-singletask-task4-v0",
        "scene-play-singletask-task3-v0",
        "puzzle-3x3-play-singletask-task2-v0",
        MAZE,
    ],
)
def test_relabelled_rewards_are_those_the_environment_gives(name):
    made = Environment(name).make()
    task = parse_task_name(name)
    assert task is not None
    made.reset(seed=0)
    bare = made.unwrapped
    bare._terminate_at_goal = False
    states, rewards, solved = [], [], []
    generator = np.random.default_rng(0)
    for step in range(40):
        if step == 20 and "maze" in name:
            bare.set_xy(np.asarray(bare.cur_goal_xy))
        if step == 20 and "cube" in name:
            bare.data.joint("object_joint_1").qpos[:3] = bare.data.mocap_pos[bare._cube_target_mocap_ids[1]]
        if step % 5 == 0 and hasattr(bare, "_cur_button_states"):
            bare._cur_button_states = np.where(
                generator.random(bare._num_buttons) < 0.5, bare._target_button_states, 1 - bare._target_button_states
            )
            bare._apply_button_states()
        buttons = bare._cur_button_states.copy() if hasattr(bare, "_cur_button_states") else np.zeros(1)
        states.append((bare.data.qpos.copy(), buttons))
        _, reward, _, _, info = made.step(generator.uniform(-1, 1, made.action_space.shape).astype(np.float32))
        rewards.append(reward)
        solved.append(info["success"])
    columns = {"qpos": np.asarray([qpos for qpos, _ in states]), "button_states": np.asarray([b for _, b in states])}
    before = np.random.get_state()[1].copy()  # pyright: ignore[reportAttributeAccessIssue]
    labelled, masks = relabel(task.environment_id, made, columns)
    np.testing.assert_array_equal(labelled, rewards)
    np.testing.assert_array_equal(masks == 0, np.asarray(solved, bool))
    assert len(set(rewards)) > 1
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # pyright: ignore[reportArgumentType]


def test_no_success_at_all_is_said(tmp_path):
    columns = maze_columns()
    columns["qpos"][:] = 0
    with pytest.warns(DataWarning, match=r"None of the 38 transitions in .* solves pointmaze-medium"):
        load_task(MAZE, save(tmp_path, columns))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        load_task(MAZE, save(tmp_path, maze_columns()))


def changed(**changes):
    def change(columns):
        for name, new in changes.items():
            if new is None:
                del columns[name]
            else:
                columns[name] = new(columns[name]) if callable(new) else new
        return columns

    return change


def at(place, value):
    def put(column):
        column = column.astype(float) if column.dtype == bool else column.copy()
        column[place] = value
        return column

    return put


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed(actions=None), "has no column 'actions': it needs observations, actions, qpos"),
        (changed(qpos=None), "has no column 'qpos'"),
        (changed(observations=at((17, 1), np.nan)), r"has nan in observations, first in row 17 \(coordinate 1\)"),
        (changed(actions=at((23, 0), -np.inf)), r"has -inf in actions, first in row 23 \(coordinate 0\)"),
        (changed(qpos=at((5, 0), np.nan)), "has nan in qpos, first in row 5"),
        (
            changed(actions=at((9, 1), 1.2)),
            "has the action 1.2 in row 9, coordinate 1, which lies beyond its bounds, -1 and 1: clip",
        ),
        (changed(terminals=at(4, 0.5)), "has 0.5 in terminals, first in row 4"),
        (changed(terminals=at(39, 0)), "ends within a trajectory"),
        (changed(terminals=np.ones(40)), "has no transitions, since every row ends a trajectory"),
        (changed(actions=lambda actions: actions[:30]), "has 40 rows of observations but 30 of actions"),
        (changed(observations=np.zeros((40, 28))), r"observations of shape \(28,\) per row, but point.* has \(2,\)"),
        (changed(actions=np.zeros((40, 5))), r"actions of shape \(5,\) per row, but .* has \(2,\)"),
        (
            changed(qpos=np.zeros((40, 21))),
            r"qpos of shape \(21,\) per row, but .* has \(2,\): check that it was recorded",
        ),
        (changed(observations=lambda o: o.astype(np.uint8)), "observations of type uint8, but .* has float32"),
        (changed(terminals=np.asarray(["no"] * 40)), "has terminals of type <U2"),
        (changed(terminals=np.asarray([None] * 40)), "contains Python objects, which are never loaded"),
        (lambda columns: {name: column[:0] for name, column in columns.items()}, "has no rows"),
        (changed(rewards=np.zeros((40, 2))), r"rewards of shape \(2,\) per row, but .* has \(\)"),
        (changed(terminals=None), "does not say where trajectories end: add the columns terminations and truncations"),
        (
            changed(observations=at((17, 1), 1e30)),
            r"e\+30 in observations, first in row 17 \(coordinate 1\): scale",
        ),
        (
            changed(observations=lambda o: o.astype(float) * 1e60),
            "in observations, first in row 0 .*: scale the column",
        ),
        (changed(rewards=np.full(40, -1e12)), "has -1000000000000.0 in rewards, first in row 0"),
    ],
)
def test_a_bad_file_is_refused_in_one_sentence_that_names_it(change, words, tmp_path):
    source = save(tmp_path, change(maze_columns()))
    with pytest.raises(DatasetFileError, match=words) as caught:
        load_task(MAZE, source)
    assert str(source.path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["half", "tail", "flip", "text", "empty", "array"])
def test_a_damaged_file_is_refused(damage, tmp_path):
    path = tmp_path / "mine.npz"
    save(tmp_path, maze_columns())
    content = bytearray(path.read_bytes())
    if damage == "array":
        with open(path, "wb") as file:
            np.save(file, np.zeros(3))
    else:
        content[700] ^= 1  # inside the first column's data
        cut = {
            "half": content[: len(content) // 2],
            "tail": content[:-10],
            "flip": content,
            "text": b"hello",
            "empty": b"",
        }
        path.write_bytes(cut[damage])
    with pytest.raises(DatasetFileError, match=r"truncated or damaged|a single array \(npy\)|a text file") as caught:
        load_task(MAZE, UserData(path))
    assert "delete" not in str(caught.value)


def test_a_path_that_is_not_there_and_a_task_without_files(tmp_path):
    with pytest.raises(DataError, match=r"The data .*nothing\.npz does not exist"):
        UserData(tmp_path / "nothing.npz")
    with pytest.raises(DataError, match="no dataset to download: use a file of your own"):
        load_task("Pendulum-v1", data_dir=tmp_path)


def test_unfit_spaces_are_refused_before_the_file_is_read(tmp_path):
    assert isinstance(gymnasium.make("CartPole-v1").action_space, gymnasium.spaces.Discrete)
    with pytest.raises(DataError, match="deflow needs continuous ones"):
        load_task("CartPole-v1", save(tmp_path, {"observations": np.zeros(3)}))


def test_sizes_are_checked_before_the_file_is_read(tmp_path):
    seen = []

    def check(spec):
        seen.append(spec)
        raise ValueError("unfit")

    with pytest.raises(ValueError, match="unfit"):
        load_task(MAZE, save(tmp_path, {"observations": np.zeros(3)}), check=check)
    assert seen == [Environment(MAZE).spec()]


def test_whether_data_is_at_hand(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert is_at_hand(MAZE, save(tmp_path, maze_columns()))
    assert is_at_hand("Pendulum-v1", save(tmp_path, maze_columns()))
    official, collected = Official(), Collected(rows=10, seed=2)
    for source in (official, collected):
        assert not is_at_hand(MAZE, source, data_dir=tmp_path)
        assert not is_at_hand("Pendulum-v1", source, data_dir=tmp_path)
        assert not is_at_hand(MAZE, source, data_dir=tmp_path / "mine.npz" / "below")
    for file in ("official/pointmaze-medium-navigate-v0.npz", "official/pointmaze-medium-navigate-v0-val.npz"):
        assert not is_at_hand(MAZE, official, data_dir=tmp_path)
        (tmp_path / "official").mkdir(exist_ok=True)
        (tmp_path / file).touch()
    assert is_at_hand(MAZE, official, data_dir=tmp_path)
    with pytest.raises(UnknownTaskError):
        is_at_hand("pointmaze-medium-navigate-singletask-task9-v0", official)
