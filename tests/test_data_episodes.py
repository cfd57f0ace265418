"""Episodes of every family: the same whatever was played before, and physically what they claim to be."""

import numpy as np
import pytest

from deflow.data.episodes import play_episode, read_episode, write_episode
from deflow.environments import parse_task_name
from deflow.environments.oracles import behaviour_of
from deflow.environments.oracles.manipulation import ScenePlay
from deflow.environments.oracles.maze import in_corridor
from deflow.errors import CollectionError

STEPS = 60
FAMILIES = {
    "cube-single-play-singletask-v0": (28, 5, 0),
    "cube-double-play-singletask-v0": (37, 5, 0),
    "scene-play-singletask-v0": (40, 5, 2),
    "puzzle-3x3-play-singletask-v0": (55, 5, 9),
    "pointmaze-medium-navigate-singletask-v0": (2, 2, 0),
    "pointmaze-teleport-navigate-singletask-v0": (2, 2, 0),
}


def behaviour(name):
    task = parse_task_name(name)
    assert task is not None
    return behaviour_of(task)(task.base_id)


def play(player, index, seed=5, split="train", steps=STEPS):
    return play_episode(player, seed=seed, split=split, index=index, steps=steps)


@pytest.fixture(scope="module", params=FAMILIES)
def played(request):
    """A behaviour that has played three other episodes first, the one it played then, and its sizes."""
    player = behaviour(request.param)
    others = [play(player, index) for index in range(3)]
    return request.param, player, others, play(player, 7)


def test_an_episode_does_not_depend_on_what_was_played_before(played):
    name, player, others, episode = played
    fresh = play(behaviour(name), 7)
    for column, values in episode.items():
        np.testing.assert_array_equal(values, fresh[column], err_msg=column)
    np.testing.assert_array_equal(play(player, 0)["observations"], others[0]["observations"])


def test_seed_split_and_index_each_change_an_episode(played):
    _, player, _, _ = played
    first = play(player, 0, steps=3)["actions"]
    assert not np.array_equal(first, play(player, 1, steps=3)["actions"])
    assert not np.array_equal(first, play(player, 0, seed=6, steps=3)["actions"])
    assert not np.array_equal(first, play(player, 0, split="val", steps=3)["actions"])


def test_columns_have_ogbenchs_types(played):
    name, player, _, episode = played
    observation, action, buttons = FAMILIES[name]
    assert episode["observations"].shape == (STEPS + 1, observation)
    assert episode["actions"].shape == (STEPS + 1, action)
    assert np.abs(episode["actions"]).max() <= 1
    assert episode["terminals"].tolist() == [False] * STEPS + [True]
    assert episode["qpos"].shape == (STEPS + 1, player.environment.model.nq)
    assert episode["qvel"].shape == (STEPS + 1, player.environment.model.nv)
    assert {column: values.dtype for column, values in episode.items() if column != "button_states"} == {
        "observations": np.float32,
        "actions": np.float32,
        "terminals": bool,
        "qpos": np.float32,
        "qvel": np.float32,
    }
    if buttons:
        assert episode["button_states"].shape == (STEPS + 1, buttons)
        assert episode["button_states"].dtype == np.int64
    else:
        assert "button_states" not in episode


def test_the_simulators_state_belongs_to_the_observation_of_its_row(played):
    name, _, _, episode = played
    if name.startswith("pointmaze"):
        np.testing.assert_array_equal(episode["observations"], episode["qpos"])
    else:
        np.testing.assert_array_equal(episode["observations"][:, :6], episode["qpos"][:, :6])  # the arm's joints
        np.testing.assert_array_equal(episode["observations"][:, 6:12], episode["qvel"][:, :6])


def test_the_action_of_a_row_leads_to_the_next_row():
    episode = play(behaviour("pointmaze-medium-navigate-singletask-v0"), 0, steps=500)
    moved = np.diff(episode["observations"], axis=0)
    free = np.abs(moved - 0.2 * episode["actions"][:-1]).max(axis=1) < 1e-4  # walls hold the others
    assert free.mean() > 0.5
    assert np.linalg.norm(moved, axis=1).max() <= 0.2 * np.sqrt(2) + 1e-3


def test_play_moves_the_cube_again_and_again():
    episode = play(behaviour("cube-single-play-singletask-v0"), 0, steps=400)
    height = episode["qpos"][:, 16]
    lifted = height > 0.06
    assert np.sum(np.diff(lifted.astype(int)) == 1) >= 2


def test_navigation_reaches_more_than_one_goal():
    player = behaviour("pointmaze-medium-navigate-singletask-v0")
    goals = set()
    watched = player.environment.set_goal
    player.environment.set_goal = lambda **goal: (goals.add(tuple(goal["goal_xy"])), watched(**goal))[1]
    play(player, 0, steps=1000)
    assert len(goals) > 2
    assert np.all(np.isfinite(list(goals)))


def test_a_corridor_leads_straight_on():
    maze = np.asarray([[1, 1, 1, 1], [1, 0, 0, 0], [1, 0, 1, 1], [1, 0, 1, 1]])
    assert not in_corridor(maze, 1, 1)
    assert in_corridor(maze, 1, 2)
    assert in_corridor(maze, 2, 1)


def test_an_episode_in_which_the_cube_gets_lost_is_refused():
    def scene(y, z):
        qpos = np.zeros((4, 25))
        qpos[2, 15:17] = y, z
        return ScenePlay.accepts(None, {"qpos": qpos})  # pyright: ignore[reportArgumentType]

    assert scene(0.0, 0.02)
    assert not scene(0.3, 0.02)
    assert not scene(-0.31, 0.02)
    assert scene(-0.31, 0.07)  # in the drawer


def test_a_refused_episode_is_played_again_with_another_seed(monkeypatch):
    player = behaviour("pointmaze-medium-navigate-singletask-v0")
    once = play(player, 0)
    seen = []
    monkeypatch.setattr(type(player), "accepts", lambda self, episode: seen.append(episode) or len(seen) > 1)
    twice = play(player, 0)
    np.testing.assert_array_equal(seen[0]["observations"], once["observations"])
    assert not np.array_equal(twice["observations"], once["observations"])
    monkeypatch.setattr(type(player), "accepts", lambda self, episode: False)
    with pytest.raises(CollectionError, match="rejected 100 times"):
        play(player, 0, steps=1)


def test_a_kept_episode_is_whole_or_not_there(tmp_path):
    path = tmp_path / "episode.npz"
    assert read_episode(path) is None
    episode = {"observations": np.arange(6, dtype=np.float32).reshape(3, 2)}
    write_episode(path, episode)
    found = read_episode(path)
    assert found is not None
    np.testing.assert_array_equal(found["observations"], episode["observations"])
    path.write_bytes(path.read_bytes()[:-30])
    assert read_episode(path) is None
    assert list(tmp_path.iterdir()) == [path]
