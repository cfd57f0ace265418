"""Where trajectories end and episodes terminate, in each convention; the expected values are counted by hand."""

import gymnasium
import numpy as np
import pytest

from deflow.data import UserData, load_task
from deflow.environments import Adapter, from_unit, to_unit
from deflow.errors import DatasetFileError, DataWarning, SpaceError

PENDULUM = "InvertedPendulum-v5"  # falls: terminations; observations of 4 numbers, actions of 1 in [-3, 3]

ENDS, FALLS = [2, 4, 7], [2, 7]
"""Of eight rows in three trajectories the first and the last fall, the second meets its time limit."""


def marks(rows, size=8):
    return np.isin(np.arange(size), rows)


def columns(**more):
    """Eight rows; every observation says its row."""
    observations = np.arange(8.0)[:, None] * np.ones(4)
    return {"observations": observations, "actions": np.zeros((8, 1)), "rewards": np.arange(8.0), **more}


def following():
    """Next observations: of a row within a trajectory the next row's, at an end what stands nowhere else."""
    numbers = np.where(marks(ENDS), np.arange(8) + 0.5, np.arange(8) + 1)
    return numbers[:, None] * np.ones(4)


def load(tmp_path, table, **options):
    np.savez(tmp_path / "mine.npz", **table)
    return load_task(PENDULUM, UserData(tmp_path / "mine.npz", **options))


def numbers(column):
    return np.asarray(column)[:, 0].tolist()


CONVENTIONS = {
    "gymnasium": {"terminations": marks(FALLS), "truncations": marks([4])},
    "d4rl": {"terminals": marks(FALLS), "timeouts": marks([4])},
    "terminals with truncations": {"terminals": marks(FALLS), "truncations": marks([4])},
    "dones with timeouts": {"dones": marks(ENDS), "timeouts": marks([4])},
    "terminations with dones": {"terminations": marks(FALLS), "dones": marks(ENDS)},
    "terminations with terminals": {"terminations": marks(FALLS), "terminals": marks(ENDS)},
    "terminals with dones": {"terminals": marks(FALLS), "dones": marks(ENDS)},
    "two columns of cuts": {"terminals": marks(FALLS), "truncations": marks([]), "timeouts": marks([4])},
    "masks": {"terminals": marks(ENDS), "masks": ~marks(FALLS)},
    "masks with dones": {"dones": marks(ENDS), "masks": ~marks(FALLS)},
    "columns of one": {"terminations": marks(FALLS)[:, None], "truncations": marks([4])[:, None].astype(np.int64)},
}


@pytest.mark.parametrize("convention", CONVENTIONS)
def test_every_convention_gives_the_same_transitions(convention, tmp_path):
    task = load(tmp_path, columns(next_observations=following(), **CONVENTIONS[convention]))
    batch = task.train
    assert numbers(batch.observation) == [0, 1, 2, 3, 4, 5, 6, 7]
    assert numbers(batch.next_observation) == [1, 2, 2.5, 4, 4.5, 6, 7, 7.5]
    assert np.flatnonzero(np.asarray(batch.mask) == 0).tolist() == FALLS
    assert np.flatnonzero(batch.extras["trajectory_end"]).tolist() == ENDS
    assert (task.trajectories, task.terminations, task.truncations, task.successes) == (3, 2, 1, None)
    assert task.provenance.reading


@pytest.mark.parametrize(
    "convention",
    ["gymnasium", "d4rl", "terminations with dones", "terminals with dones", "two columns of cuts", "masks"],
)
def test_without_next_observations_a_time_limit_has_no_next_state_and_a_fall_needs_none(convention, tmp_path):
    batch = load(tmp_path, columns(**CONVENTIONS[convention])).train
    assert numbers(batch.observation) == [0, 1, 2, 3, 5, 6, 7]  # not row 4
    assert numbers(batch.next_observation) == [1, 2, 2, 4, 6, 7, 7]
    assert batch.reward.tolist() == [0, 1, 2, 3, 5, 6, 7]
    assert np.flatnonzero(np.asarray(batch.mask) == 0).tolist() == [2, 6]
    assert np.flatnonzero(batch.extras["trajectory_end"]).tolist() == [2, 3, 6]


def test_terminals_alone_end_trajectories_and_say_nothing_of_terminations_unless_the_user_does(tmp_path):
    table = columns(next_observations=following(), terminals=marks(ENDS))
    task = load(tmp_path, table)
    assert (task.trajectories, task.terminations, task.truncations) == (3, 0, 3)
    assert "none is known to be a termination" in task.provenance.reading
    task = load(tmp_path, table, terminals="termination")
    assert (task.trajectories, task.terminations, task.truncations) == (3, 3, 0)
    batch = load(tmp_path, columns(terminals=marks(ENDS))).train  # OGBench's layout: the last row is an observation
    assert numbers(batch.observation) == [0, 1, 3, 5, 6]
    assert numbers(batch.next_observation) == [1, 2, 4, 6, 7]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({}, "does not say where trajectories end"),
        ({"dones": marks(ENDS)}, "may mark terminations or any end of an episode: add truncations"),
        ({"terminals": marks(FALLS)}, r"has 1 rows whose next observation .* first in row 4 .*truncations or timeouts"),
        ({"terminals": marks([2])}, "ends within a trajectory.* not just the file's last row"),
        (
            {"terminations": marks(FALLS), "masks": np.ones(8)},
            r"masks that contradict it in 2 rows, first in row 2 \(read: terminations",
        ),
        ({"terminals": marks(ENDS), "timeouts": 2 * marks([4])}, "has 2 in timeouts, first in row 4"),
        ({"terminals": marks(ENDS), "timeouts": marks([4])}, "may mark terminations or any end: give their meaning"),
    ],
)
def test_what_would_glue_trajectories_or_is_not_clear_is_refused(more, words, tmp_path):
    with pytest.raises(DatasetFileError, match=words):
        load(tmp_path, columns(next_observations=following(), **more))


def test_a_given_meaning_is_followed_or_contradicted(tmp_path):
    table = columns(next_observations=following(), terminals=marks(ENDS), timeouts=marks([4]))
    assert load(tmp_path, table, terminals="trajectory-end").terminations == 2
    assert load(tmp_path, table, terminals="termination").terminations == 3
    table = columns(next_observations=following(), terminals=marks(ENDS), masks=np.ones(8))
    with pytest.raises(DatasetFileError, match=r"masks that contradict it in 3 rows.*as stated"):
        load(tmp_path, table, terminals="termination")


def test_jumps_within_trajectories_are_pointed_out(tmp_path):
    """Without next observations only a jump tells: three episodes marked as one jump back twice."""
    table = columns(terminals=marks([59], 60))
    table |= {name: np.zeros((60, *table[name].shape[1:])) for name in ("actions", "rewards")}
    table["observations"] = np.tile(np.arange(20.0) * 1e-3, 3)[:, None] * np.ones(4) + np.repeat([0, 5, 9], 20)[:, None]
    with pytest.warns(DataWarning, match="jumps after 2 rows that do not end a trajectory, first after row 19"):
        load(tmp_path, table)


def test_real_falls_of_a_pendulum(tmp_path):
    environment = gymnasium.make(PENDULUM, max_episode_steps=6)
    rows = {
        name: [] for name in ("observations", "actions", "rewards", "terminations", "truncations", "next_observations")
    }
    for seed, push in enumerate((3.0, 0.0, -3.0)):
        observation, _ = environment.reset(seed=seed)
        ended = False
        while not ended:
            action = np.asarray([push], np.float32)
            after, reward, terminated, truncated, _ = environment.step(action)
            for column, value in zip(
                rows.values(), (observation, action, reward, terminated, truncated, after), strict=True
            ):
                column.append(value)
            observation, ended = after, terminated or truncated
    task = load(tmp_path, rows)
    assert task.trajectories == 3
    assert task.terminations == sum(rows["terminations"])
    assert task.truncations == sum(rows["truncations"]) >= 1
    np.testing.assert_array_equal(np.asarray(task.train.mask) == 0, rows["terminations"])


def test_columns_of_one_number_may_have_an_axis_or_none(tmp_path):
    table = columns(next_observations=following(), terminals=marks(ENDS))
    flat = load(tmp_path, {**table, "actions": np.linspace(-3, 3, 8), "rewards": np.arange(8.0)[:, None]}).train
    assert flat.action.shape == (8, 1)
    assert flat.reward.tolist() == list(range(8))


# --- actions


def test_actions_are_exact_at_the_bounds_and_never_beyond():
    low, high = np.float32([-1.9, 0.1, -3.0, 2.0]), np.float32([0.3, 0.7, 5.0, 2.0])
    np.testing.assert_array_equal(from_unit(np.float32([1, 1, 1, 1]), low, high), high)
    np.testing.assert_array_equal(from_unit(np.float32([-1, -1, -1, -1]), low, high), low)
    np.testing.assert_array_equal(to_unit(np.stack([low, high]), low, high), [[-1, -1, -1, 0], [1, 1, 1, 0]])
    units = np.random.default_rng(0).uniform(-1, 1, (1000, 4)).astype(np.float32)
    scaled = from_unit(units, low, high)
    assert scaled.dtype == np.float32
    assert np.all((scaled >= low) & (scaled <= high))
    np.testing.assert_allclose(to_unit(scaled, low, high)[:, :3], units[:, :3], atol=1e-6)


class Integers(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    action_space = gymnasium.spaces.Box(0, 5, (2,), np.int64)


def test_integer_actions_are_refused():
    with pytest.raises(SpaceError, match="takes actions of type int64, but DeFlow acts with real numbers"):
        Adapter(Integers())
