"""Data of the user's own: with other names, other units, and no environment."""

import functools
import warnings

import in_process
import numpy as np
import pytest

import deflow
from deflow.data import Columns, RewardScale, UserData, load_task, readers
from deflow.data.provenance import digest
from deflow.environments import ActionBounds
from deflow.errors import DataError, DatasetFileError, DataWarning, RegistrationError, SpaceError, UnknownNameError
from deflow.runs import recorded_task


def log(rows=30, episodes=3):
    """A robot's log: two joints, a speed, a torque in [-40, 40], and the number of the episode."""
    generator = np.random.default_rng(0)
    return {
        "joint_b": generator.normal(size=rows),
        "joint_a": generator.normal(size=(rows, 2)),
        "speed": np.arange(rows),
        "torque": np.linspace(-40, 40, rows),
        "paid": generator.normal(size=rows),
        "ride": np.repeat(np.arange(episodes), rows // episodes),
        "stamp": np.arange(rows) * 0.1,
    }


NAMED = Columns(observation=("joint_*", "speed"), action=("torque",), reward="paid", episode="ride")


def save(tmp_path, columns, name="log.npz"):
    np.savez(tmp_path / name, **columns)
    return tmp_path / name


def test_columns_by_name_in_the_order_of_the_patterns(tmp_path):
    columns = log()
    task = load_task("none", UserData(save(tmp_path, columns), columns=NAMED))
    keep = np.setdiff1d(np.arange(30), [9, 19, 29])  # an episode's last row has no next state
    wanted = np.column_stack([columns["joint_b"], columns["joint_a"], columns["speed"]]).astype(np.float32)
    np.testing.assert_array_equal(task.train.observation, wanted[keep])
    np.testing.assert_array_equal(task.train.next_observation, wanted[keep + 1])
    np.testing.assert_allclose(task.train.reward, columns["paid"][keep], rtol=1e-6)
    np.testing.assert_allclose(task.train.action[:, 0], np.linspace(-1, 1, 30)[keep], atol=1.1e-5)
    np.testing.assert_array_equal(np.flatnonzero(task.train.extras["trajectory_end"]), [8, 17, 26])
    assert np.all(task.train.mask == 1)
    assert (task.environment, task.name, task.spec) == (None, "log", deflow.Spec((4,), 1, horizon=10))
    assert task.bounds == ActionBounds((-40.0,), (40.0,), "data")
    assert list(task.provenance.assumed) == [
        "observations = joint_b, joint_a, speed",
        "actions = torque",
        "rewards = paid",
        "trajectories end where the episode changes",
    ]
    given = load_task("none", UserData(save(tmp_path, columns), columns=NAMED), bounds=(-80, [80.0]))
    assert given.bounds == ActionBounds((-80.0,), (80.0,), "given")
    np.testing.assert_allclose(given.train.action[:, 0], np.linspace(-0.5, 0.5, 30)[keep], atol=1e-6)


def test_terminations_beside_episodes_are_masks(tmp_path):
    columns = {**log(), "fell": np.arange(30) == 19}
    named = Columns.restore({**NAMED.given(), "termination": "fell"})
    batch = load_task("none", UserData(save(tmp_path, columns), columns=named)).train
    np.testing.assert_array_equal(np.flatnonzero(np.asarray(batch.mask) == 0), [18])
    assert len(batch) == 28  # what terminated needs no next state


def test_gaps_in_time_end_trajectories(tmp_path):
    columns = log()
    columns["stamp"][12:] += 0.3
    columns["stamp"][25] = columns["stamp"][24]
    named = Columns.restore({**NAMED.given(), "episode": None, "time": "stamp"})
    task = load_task("none", UserData(save(tmp_path, columns), columns=named))
    ends = np.flatnonzero(task.train.extras["trajectory_end"])
    np.testing.assert_array_equal(ends, [10, 22, 25])  # rows 11, 24, 25 and 29 have no next state
    assert "3 gaps in time" in task.provenance.assumed[-1]


def test_rewards_are_scaled_for_learning_alone(tmp_path):
    file = save(tmp_path, log())
    plain = load_task("none", UserData(file, columns=NAMED))
    scaled = load_task("none", UserData(file, columns=NAMED), rewards=RewardScale(0.5, -1.0))
    np.testing.assert_allclose(scaled.train.reward, 0.5 * plain.train.reward - 1, rtol=1e-6)
    assert str(RewardScale(0.5, -1.0)) == "0.5 * r - 1"
    for wrong in ((0.0, 0.0), (-1.0, 0.0), (np.inf, 0.0), (1.0, np.nan)):
        with pytest.raises(DataError, match="scale must be positive and its shift finite"):
            RewardScale(*wrong)


def test_what_the_environment_pays_online_is_scaled_too(tmp_path):
    columns = {"observations": np.zeros((4, 3)), "actions": np.zeros((4, 1)), "rewards": np.ones(4)}
    file = save(tmp_path, {**columns, "terminations": np.zeros(4), "truncations": np.arange(4) == 3})
    steps = {}
    for rewards in (RewardScale(), RewardScale(0.5, -1.0)):
        task = load_task("Pendulum-v1", UserData(file), rewards=rewards)
        with deflow.Actors(task, seeds=[0]) as actors:
            actors.send(np.zeros((1, 1, 1), np.float32))
            steps[rewards.scale] = actors.receive()
    np.testing.assert_allclose(steps[0.5].reward, 0.5 * steps[1.0].reward - 1, rtol=1e-6)
    np.testing.assert_array_equal(steps[0.5].next_observation, steps[1.0].next_observation)


def test_bounds_belong_to_data_alone(tmp_path):
    file = save(tmp_path, log())
    with pytest.raises(DataError, match="Pendulum-v1 has its own action bounds"):
        load_task("Pendulum-v1", UserData(file, columns=NAMED), bounds=(-1, 1))
    with pytest.raises(DatasetFileError, match=r"the action -40 in row 0, coordinate 0, .*its bounds, -1 and 1:"):
        load_task("none", UserData(file, columns=NAMED), bounds=(-1, 1))
    with pytest.raises(DataError, match="Actions have 1 coordinates, and the low bounds 2"):
        load_task("none", UserData(file, columns=NAMED), bounds=([-50, -50], 50))
    with pytest.raises(DataError, match="low must not be above high, got 50 and -50"):
        load_task("none", UserData(file, columns=NAMED), bounds=(50, -50))
    with pytest.raises(DataError, match="no official or collected data"):
        load_task("none")


def test_bounds_are_exact_and_invertible():
    bounds = ActionBounds((-2.0, 0.1, 5.0), (2.0, 0.7, 5.0))
    np.testing.assert_array_equal(bounds.to_unit(np.asarray([bounds.low, bounds.high])), [[-1, -1, 0], [1, 1, 0]])
    np.testing.assert_array_equal(bounds.from_unit(np.asarray([[-1, -1, -1], [1, 1, 1]])), [bounds.low, bounds.high])
    tiny = np.float32([[1e-10]])
    np.testing.assert_array_equal(ActionBounds((-1,), (1,)).to_unit(tiny), tiny)
    assert str(bounds) == "[(-2, 0.1, 5), (2, 0.7, 5)]"
    assert str(ActionBounds((-1, -1), (1, 1))) == "[-1, 1]"


def test_no_episode_is_played_without_an_environment(tmp_path):
    task = load_task("none", UserData(save(tmp_path, log()), columns=NAMED))
    with pytest.raises(SpaceError, match="data alone, so no episode can be played"):
        deflow.Evaluator(task)


def test_float32_is_said_to_be_too_coarse(tmp_path):
    columns = log()
    columns["speed"] = 1.6e9 + np.arange(30) * 0.1
    with pytest.raises(DatasetFileError, match="scale the column"):
        load_task("none", UserData(save(tmp_path, columns), columns=NAMED))
    columns["speed"] = 9e8 + np.arange(30) * 0.1
    with pytest.warns(DataWarning, match=r"coordinate 3 varies by 2.9 around 9e\+08.* steps of 64"):
        load_task("none", UserData(save(tmp_path, columns), columns=NAMED))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        columns["speed"] = 1e6 + np.arange(30) * 100.0
        load_task("none", UserData(save(tmp_path, columns), columns=NAMED))


@pytest.mark.parametrize(
    ("change", "named", "match"),
    [
        ({}, {"observation": ("joints_*",)}, "Unknown column for the observation 'joints_[*]'. Did you mean 'joint_"),
        ({}, {"reward": "payed"}, "Unknown column for the reward 'payed'. Did you mean 'paid'"),
        ({}, {"episode": "rides"}, "Unknown column for the episode 'rides'. Did you mean 'ride'"),
        ({"speed": np.zeros(29)}, {}, "columns of different lengths .*29 of speed"),
        ({"speed": np.zeros((30, 4, 4, 3))}, {}, r"speed of shape \(4, 4, 3\) per row, and the observations joins"),
        ({"paid": np.full(30, "a")}, {}, "rewards of type <U1: save them as numbers"),
        ({"torque": np.full(30, np.nan)}, {}, "nan in actions, first in row 0"),
        ({}, {"episode": None}, "does not say where trajectories end"),
    ],
)
def test_one_sentence_for_what_is_wrong(tmp_path, change, named, match):
    columns = Columns.restore({**NAMED.given(), **named})
    with pytest.raises(DatasetFileError, match=match):
        load_task("none", UserData(save(tmp_path, {**log(), **change}), columns=columns))


def test_the_reader_is_found_by_content_by_name_or_by_the_address(tmp_path):
    file = save(tmp_path, log()).rename(tmp_path / "without-suffix")
    assert readers.reader_of(file) == ("npz", file)
    assert readers.reader_of(f"npz:{file}") == ("npz", file)
    assert readers.reader_of(file, "npz") == ("npz", file)
    with pytest.raises(UnknownNameError, match=r"Unknown reader 'nzp'\. Did you mean 'npz'"):
        UserData(file, reader="nzp")
    with pytest.raises(DatasetFileError, match=r"does not exist"):
        UserData(tmp_path / "nothing")
    (tmp_path / "archive.gz").write_bytes(b"\x1f\x8b......")
    with pytest.raises(DatasetFileError, match=r"archive.gz is a gzip file, which no reader recognises"):
        UserData(tmp_path / "archive.gz")


def test_a_reader_in_ten_lines(tmp_path, monkeypatch):
    monkeypatch.setattr(readers.registry, "_members", dict(readers.registry._loaded()))

    @readers.register("folder-of-npy")
    class FolderOfNpy(readers.AbstractReader):
        def suits(self, path):
            return (path / "observations.npy").is_file()

        def read(self, path, columns):
            names = ("observations", "actions", "rewards", "terminations", "truncations")
            return readers.Recording({name: np.load(path / f"{name}.npy") for name in names})

    columns = {"observations": np.zeros((4, 3)), "actions": np.ones((4, 1)), "rewards": np.ones(4)}
    for name, values in {**columns, "terminations": np.zeros(4), "truncations": np.arange(4) == 3}.items():
        np.save(tmp_path / f"{name}.npy", values)
    task = load_task("Pendulum-v1", tmp_path)
    assert (task.provenance.reader, len(task.train)) == ("folder-of-npy", 3)
    assert task.provenance.sha256 == digest(tmp_path)
    before = digest(tmp_path)
    (tmp_path / "rewards.npy").rename(tmp_path / "reward.npy")
    assert digest(tmp_path) != before
    with pytest.raises(RegistrationError, match="subclass of AbstractReader"):
        readers.register("no-reader")(dict)


def test_the_recipe_trains_on_data_alone_and_goes_on(tmp_path, monkeypatch):
    file, recipe = save(tmp_path, log(300)), functools.partial(in_process.recipe, "offline")
    monkeypatch.chdir(tmp_path)
    columns = ("--columns.observation", "joint_*", "speed", "--columns.action", "torque")
    columns += ("--columns.reward", "paid", "--columns.episode", "ride")
    small = ("--field.width", 8, "--refiner.width", 8, "--critic.width", 8, "--batch-size", 8)
    every = ("--log-every", 5, "--save-every", 5)
    first = recipe(
        *("flow-bc", "--env", "none", "--data", file, *columns, "--action-low", -80, "--action-high", 80),
        *("--reward-scale", 0.5, "--steps", 10, "--estimate-steps", 3, *every, *small[:2], *small[-2:]),
    )
    assert first.returncode == 0, first.stderr
    assert "in [-80, 80], as given" in first.stdout
    assert "0.5 * r + 0" in first.stdout
    assert "estimated from the data every 100,000 updates, since there is no environment" in first.stdout
    assert "recipes/estimate.py" in first.stdout
    (run,) = (tmp_path / "runs/log/flow-bc").iterdir()
    config = deflow.Run.open(run).config
    assert config["environment"] is None
    assert config["action_bounds"] == {"low": [-80.0], "high": [80.0], "origin": "given"}
    assert config["data"]["columns"]["observation"] == ["joint_*", "speed"]
    rows = deflow.Run.open(run).read("eval")
    assert (rows["step"].tolist(), rows["estimate/value.low"] < rows["estimate/value"]) == ([10], [True])
    assert deflow.Run.open(run).best.steps() == [10]  # of the highest estimate
    assert f"{rows['estimate/value'][0]:.3g} [" in first.stdout
    again = recipe("--resume", run, "--steps", 20, "--estimate-steps", 0)
    assert again.returncode == 0, again.stderr
    assert "none, since there is no environment" in again.stdout
    assert deflow.Run.open(run).read("eval")["step"].tolist() == [10]
    task = recorded_task(deflow.Run.open(run))
    assert (task.bounds, task.rewards) == (ActionBounds((-80.0,), (80.0,), "given"), RewardScale(0.5))
    assert deflow.load(run).agent.action_size == 1
    other = recipe("--resume", run, "--steps", 30, "--columns.reward", "stamp")
    assert (other.returncode, other.stdout) == (2, "")
    assert "--columns is" in other.stderr
    acted = recipe("flow-bc", "--env", "none", "--data", file, *columns, "--action-low", -80)
    assert "--action-low and --action-high belong together" in acted.stderr
