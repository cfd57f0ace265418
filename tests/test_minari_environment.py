"""Minari's sets in the environments that they name: real Adroit and maze sets, recorded here."""

import dataclasses
import importlib
import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import gymnasium_robotics  # noqa: F401 (registers its environments)
import jax
import minari
import numpy as np
import pytest

import deflow
from deflow import cli, task_settings
from deflow.agent import variance_factor
from deflow.data import Columns, UserData, load_task, report, task_environment
from deflow.environments import Environment, ReferenceScores
from deflow.errors import DataError, DatasetFileError, SpaceError, UnknownTaskError
from deflow.report.labels import labels
from deflow.report.reading import read_run
from deflow.runs import create_run, recorded_task

ROOT = Path(__file__).parents[1]
PEN, MAZE, ANT = "D4RL/pen/human-v2", "small/pointmaze-v0", "small/antmaze-v0"
CORRIDOR = [[1, 1, 1, 1, 1], [1, "r", 0, "g", 1], [1, 1, 1, 1, 1]]
GOALS = {"maze_map": CORRIDOR, "continuing_task": True}


def to_the_goal(observation):
    """A scripted policy for a corridor: a spring and a damper."""
    return np.clip(observation["desired_goal"] - observation["observation"][:2] - observation["observation"][2:], -1, 1)


def record(name, identifier, policy=None, *, steps, episodes=2, arguments=None, **more):
    """A set of episodes of this many steps, of the scripted policy or of random actions."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        environment = gymnasium.make(name, max_episode_steps=steps, **(arguments or {}))
        collector = minari.DataCollector(environment, record_infos=False)
        collector.action_space.seed(0)
        for episode in range(episodes):
            observation, _ = collector.reset(seed=episode)
            done = False
            while not done:
                action = policy(observation) if policy else collector.action_space.sample()
                observation, _, terminated, truncated, _ = collector.step(action.astype(np.float32))
                done = terminated or truncated
        author = {"author": "me", "author_email": "me@home", "code_permalink": "https://here"}
        collector.create_dataset(identifier, algorithm_name="scripted", **author, **more)
        collector.close()


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        scores = {"ref_min_score": -50.0, "ref_max_score": 3000.0}
        record("AdroitHandPen-v1", PEN, steps=20, arguments={"reward_type": "dense"}, **scores)
        played = gymnasium.make("PointMaze_UMaze-v3", max_episode_steps=25, **GOALS)
        scores = {"ref_min_score": 0.0, "ref_max_score": 20.0, "eval_env": played}
        record("PointMaze_UMaze-v3", MAZE, to_the_goal, steps=40, arguments=GOALS, **scores)
        record("AntMaze_UMaze-v5", ANT, steps=15)
        yield folder


@pytest.fixture
def changed(storage, tmp_path):
    """A copy of a set's metadata and rows, with other fields in its metadata."""

    def change(identifier, **fields):
        folder = tmp_path / "set" / "data"
        folder.mkdir(parents=True)
        for file in (storage / identifier / "data").iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        metadata = json.loads((folder / "metadata.json").read_text())
        for name, value in fields.items():
            metadata[name] = json.dumps(json.loads(metadata[name]) | value) if isinstance(value, dict) else value
        (folder / "metadata.json").write_text(json.dumps(metadata))
        return folder.parent

    return change


def replayed(environment, task, episode, seed):
    """The observations of an episode of the data, when its actions are taken again in the environment."""
    ends = np.flatnonzero(task.train.extras["trajectory_end"])
    rows = np.arange(ends[episode - 1] + 1 if episode else 0, ends[episode] + 1)
    made = environment.make()
    observation, _ = made.reset(seed=seed)
    found = [observation]
    for action in np.asarray(task.train.action)[rows[:-1]]:
        found.append(made.step(action)[0])
    return np.asarray(found), np.asarray(task.train.observation)[rows]


# --- which environment


def test_the_environment_that_a_set_names_is_made(storage):
    task = load_task("recorded", f"minari:{PEN}")
    assert task.environment == Environment(
        "gymnasium_robotics:AdroitHandPen-v1",
        arguments={"reward_type": "dense", "max_episode_steps": 20},
        reference=ReferenceScores(-50.0, 3000.0, f"ref_min_score and ref_max_score of {PEN}"),
        named_by=PEN,
    )
    assert (task.name, task.spec, task.bounds.origin) == (PEN, deflow.Spec((45,), 24, horizon=20), "environment")
    found, recorded = replayed(task.environment, task, 1, seed=1)
    np.testing.assert_allclose(found, recorded, atol=1e-4)  # actions near a bound are set inside it
    assert load_task("recorded", storage / PEN).environment == task.environment
    alone = load_task("none", f"minari:{PEN}")
    assert (alone.environment, alone.name) == (None, PEN)
    card = report(f"minari:{PEN}", environment="recorded", progress=False)
    assert card.bounds is not None
    assert card.bounds.origin == "environment"


def test_the_name_that_is_given_wins(storage):
    given = "gymnasium_robotics:AdroitHandPen-v1"
    task = load_task(given, f"minari:{PEN}")
    assert (task.name, task.environment) == (given, Environment(given))
    assert task.spec.horizon == 200
    assert task_environment(given, f"minari:{MAZE}") == Environment(
        given, keys=("achieved_goal", "desired_goal", "observation")
    )
    own = Environment("gymnasium_robotics:PointMaze_UMaze-v3", arguments=GOALS, keys=("observation",))
    columns = Columns(observation=("observation",))
    assert load_task(own, UserData(f"minari:{MAZE}", columns=columns)).environment == own


def test_a_set_is_evaluated_where_it_says(storage, changed):
    environment = task_environment("recorded", f"minari:{MAZE}")
    assert environment is not None
    assert environment.arguments == {**GOALS, "reward_type": "sparse", "max_episode_steps": 25}
    made = environment.make()
    made.reset(seed=0)
    assert made.unwrapped.maze.maze_map == CORRIDOR
    assert made.spec is not None
    assert made.spec.max_episode_steps == environment.spec().horizon == 25
    assert environment.limited
    same = changed(MAZE, eval_env_spec=None, env_spec={"max_episode_steps": 40.0, "kwargs": {"render_mode": "human"}})
    environment = task_environment("recorded", same)
    assert environment is not None
    assert environment.arguments == {"max_episode_steps": 40}


@pytest.mark.parametrize(
    ("fields", "error", "match"),
    [
        ({"env_spec": None}, DataError, "does not say in which environment"),
        (
            {"env_spec": {"id": "Nowhere-v0"}},
            UnknownTaskError,
            "recorded in gymnasium_robotics:Nowhere-v0, which is re",
        ),
        (
            {"env_spec": {"kwargs": {"gravity": 3}}},
            DataError,
            r"gravity 3, max_episode_steps 20 cannot be made \(.*gravity'\)",
        ),
        (
            {"env_spec": {"additional_wrappers": [{"name": "Flat", "entry_point": "os:abort", "kwargs": {}}]}},
            DataError,
            "within Flat, and no wrappers are made from a file",
        ),
        ({"env_spec": {"id": "AdroitHandDoor-v1"}}, DatasetFileError, "has actions in .* takes"),
    ],
)
def test_one_sentence_for_an_environment_that_is_not_the_datas(changed, fields, error, match):
    with pytest.raises(error, match=match) as caught:
        load_task("recorded", changed(PEN, **fields))
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_other_bounds_of_actions_are_refused(changed):
    space = {"low": [-2.0] * 24, "high": [2.0] * 24}
    with pytest.raises(DatasetFileError, match=r"has actions in \[-2, 2\], but .*AdroitHandPen-v1.* takes \[-1, 1\]"):
        load_task("recorded", changed(PEN, action_space=space))


def test_official_data_names_no_environment():
    with pytest.raises(DataError, match="OGBench's data does not say"):
        load_task("recorded")


def test_without_the_package_there_is_a_way(storage, monkeypatch):
    monkeypatch.setitem(sys.modules, "gymnasium_robotics", None)
    with pytest.raises(UnknownTaskError, match=r"pip install 'deflow\[robotics\]', or name the task 'none'"):
        load_task("recorded", f"minari:{PEN}")
    assert len(load_task("none", f"minari:{PEN}").train) == 40


# --- observations


@pytest.mark.parametrize("identifier", [MAZE, ANT])
def test_the_environments_observations_are_joined_as_the_datas(storage, identifier):
    for patterns, keys in (
        ((), ("achieved_goal", "desired_goal", "observation")),
        (("observation", "desired_*"), ("observation", "desired_goal")),
        (("observation",), ("observation",)),
    ):
        task = load_task("recorded", UserData(f"minari:{identifier}", columns=Columns(observation=patterns)))
        assert task.environment is not None
        assert task.environment.keys == keys
        for environment in (  # as it is, in a worker, from a run
            task.environment,
            pickle.loads(pickle.dumps(task.environment)),
            Environment(**json.loads(json.dumps(dataclasses.asdict(task.environment)))),
        ):
            assert environment == task.environment
        found, recorded = replayed(task.environment, task, 1, seed=1)
        np.testing.assert_allclose(found, recorded, atol=1e-4)  # actions near a bound are set inside it


def test_an_explicit_environment_has_the_datas_entries_or_is_refused(storage):
    name = "gymnasium_robotics:PointMaze_UMaze-v3"
    task = load_task(name, UserData(f"minari:{MAZE}", columns=Columns(observation=("desired_goal", "observation"))))
    assert task.environment == Environment(name, keys=("desired_goal", "observation"))
    with pytest.raises(
        DatasetFileError, match=r"observations of shape \(8,\) per row, but .*FetchReach-v4 has \(16,\)"
    ):
        load_task("gymnasium_robotics:FetchReach-v4", f"minari:{MAZE}")


class Entries(gymnasium.Env):
    """Observations of several kinds."""

    def __init__(self):
        box = gymnasium.spaces.Box
        inner = gymnasium.spaces.Tuple((gymnasium.spaces.Discrete(5), gymnasium.spaces.Text(3)))
        spaces = {"eye": box(0, 255, (2, 2, 3), np.uint8), "speed": box(-9, 9, (2,)), "inner": inner}
        self.observation_space = gymnasium.spaces.Dict(spaces)
        self.action_space = box(-1, 1, (1,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        speed = np.array([3, 4], np.float32)
        return {"eye": np.full((2, 2, 3), 7, np.uint8), "speed": speed, "inner": (np.int64(2), "abc")}, {}


gymnasium.register("Entries-v0", Entries)


def test_entries_by_name():
    made = Environment("Entries-v0", keys=("speed", "inner/0")).make()
    np.testing.assert_array_equal(made.reset()[0], np.float32([3, 4, 2]))
    assert made.observation_space.shape == (3,)
    eye = Environment("Entries-v0", keys=("eye",)).make()
    assert (eye.reset()[0].dtype, eye.observation_space.shape) == (np.uint8, (2, 2, 3))
    with pytest.raises(SpaceError, match=r"Entries.* has no 'goal' among its observations \("):
        Environment("Entries-v0", keys=("goal",)).make()
    with pytest.raises(SpaceError, match="no numbers in 'inner/1'"):
        Environment("Entries-v0", keys=("speed", "inner/1")).make()
    with pytest.raises(SpaceError, match="learn from data that names them"):
        Environment("Entries-v0").make()
    with pytest.raises(DataError, match="must be what JSON can express"):
        Environment("Entries-v0", arguments={"far": np.zeros(2)})


# --- scores


def test_the_normalized_score_is_d4rls_formula(storage):
    reference = ReferenceScores(-50.0, 150.0, "me")
    result = deflow.Evaluation(np.zeros(2), np.array([0.0, 50.0]), np.ones(2), reference)
    values = result.metrics()
    assert values["evaluation/normalized_score"] == pytest.approx(37.5)
    width = values["evaluation/episode.return.high"] - values["evaluation/episode.return.low"]
    scored = values["evaluation/normalized_score.high"] - values["evaluation/normalized_score.low"]
    assert scored == pytest.approx(width / 2)
    assert "normalized score 37.5" in str(result)
    plain = deflow.Evaluation(np.zeros(2), np.zeros(2), np.ones(2))
    assert not any("score" in name for name in plain.metrics())
    assert "score" not in str(plain)
    data = minari.load_dataset(MAZE)
    task = load_task("recorded", f"minari:{MAZE}")
    assert task.environment is not None
    assert task.environment.reference is not None
    assert task.environment.reference.normalized(7.0) == pytest.approx(
        100 * minari.get_normalized_score(data, np.array(7.0))
    )


def test_without_scores_there_is_none(storage):
    assert load_task("recorded", f"minari:{ANT}").environment.reference is None
    with pytest.raises(DataError, match="finite and in order"):
        ReferenceScores(2.0, 1.0, "me")


@pytest.mark.parametrize("scores", [(1.0, 1.0), (None, 1.0), (float("nan"), 1.0), ("0", "1")])
def test_scores_that_are_no_range_are_none(changed, scores):
    environment = task_environment("recorded", changed(PEN, ref_min_score=scores[0], ref_max_score=scores[1]))
    assert environment is not None
    assert environment.reference is None


# --- settings


@pytest.mark.parametrize(
    ("name", "namesake"),
    [
        ("D4RL/pen/human-v2", "pen-human-v1"),
        ("D4RL/door/cloned-v2", "door-cloned-v1"),
        ("D4RL/antmaze/umaze-v1", "antmaze-umaze-v2"),
        ("D4RL/antmaze/large-play-v1", "antmaze-large-play-v2"),
    ],
)
def test_namesakes_of_d4rls_tasks_borrow_their_settings(name, namesake):
    settings = task_settings(name)
    assert settings.borrowed_from is not None
    assert settings.borrowed_from.startswith("D4RL's ")
    assert dataclasses.replace(settings, borrowed_from=None) == task_settings(namesake)
    assert variance_factor(name) == variance_factor(namesake)


def test_other_sets_have_no_published_settings():
    for name in ("D4RL/pointmaze/umaze-v2", "D4RL/kitchen/mixed-v2", "mujoco/hopper/expert-v0", "pen/human-v2"):
        assert task_settings(name) == task_settings("none")


# --- the command line


def test_env_follows_from_the_data(storage, tmp_path, monkeypatch):
    np.savez(tmp_path / "log.npz", observations=np.zeros((2, 1)))
    added = ["--env", "recorded"]
    for data in (f"minari:{PEN}", "minari:D4RL/pen/never-downloaded-v0", storage / PEN, storage / PEN / "data"):
        arguments = ["flow-bc", "--data", str(data), "solver:heun"]
        assert cli.program.with_recorded_environment(arguments) == [*arguments, *added]
        assert cli.program.with_recorded_environment([f"--data={data}"]) == [f"--data={data}", *added]
        for more in (["--env", "none"], ["--resume", "run"], ["--from", "run"]):
            assert cli.program.with_recorded_environment([*arguments, *more]) == [*arguments, *more]
    for data in ("official", "collected", tmp_path / "log.npz", tmp_path / "nothing", "npz:nothing"):
        assert cli.program.with_recorded_environment(["--data", str(data)]) == ["--data", str(data)]
    monkeypatch.syspath_prepend(ROOT / "recipes")
    offline = importlib.import_module("offline")
    for data in (f"minari:{PEN}", str(storage / PEN)):
        for env in ("recorded", "none"):
            options, config, _ = offline.defaults(["--data", data, "--env", env])
            assert config.trust_region.bound == task_settings("pen-human-v1").bound
            assert options.steps == 500_000
    assert offline.defaults(["--data", f"minari:{PEN}", "--env", "Pendulum-v1"])[0].steps == 1_000_000
    sys.modules.pop("offline", None)


def recipe(name, *arguments, cwd):
    command = [sys.executable, str(ROOT / f"recipes/{name}.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_maze_set_trains_is_evaluated_and_goes_on(storage, tmp_path):
    """With two entries in an order of its own, in the set's maze, to the normalized score in table and log."""
    small = ("--batch-size", 8, "--field.width", 8, "--field.depth", 1, "--workers", 1, "--episodes", 2)
    every = ("--log-every", 5, "--save-every", 5)
    columns = ("--columns.observation", "observation", "desired_goal")
    said = recipe(
        "offline", "flow-bc", "--data", f"minari:{MAZE}", "--steps", 5, *columns, *small, *every, cwd=tmp_path
    )
    assert "gymnasium_robotics:PointMaze_UMaze-v3 with maze_map" in said
    assert "0 at a return of 0, 100 at 20 (ref_min_score and ref_max_score of small/pointmaze-v0)" in said
    assert "normalized" in said.partition("flow-bc on small/pointmaze-v0")[2]
    (run,) = (tmp_path / "runs/small_pointmaze-v0/flow-bc").iterdir()
    recorded = deflow.Run.open(run).config["environment"]
    assert recorded["keys"] == ["observation", "desired_goal"]
    assert recorded["reference"]["high"] == 20.0
    task = recorded_task(deflow.Run.open(run))
    assert task.environment == Environment(**recorded)
    before = deflow.Run.open(run).read("eval")
    scores = before["evaluation/normalized_score"]
    np.testing.assert_allclose(scores, 5 * before["evaluation/episode.return"])
    again = recipe("evaluate", run, "--workers", 1, cwd=tmp_path)
    assert f"normalized score {scores[0]:.1f}, length 25 over 2 episodes" in again
    recipe("resume", run, "--steps", 10, cwd=tmp_path)
    rows = deflow.Run.open(run).read("eval")
    assert rows["step"].tolist() == [5, 10]
    assert np.isfinite(rows["evaluation/normalized_score"]).all()


def test_runs_in_other_mazes_are_no_seeds_of_one(storage, tmp_path):
    """The arguments of an environment that Python gives, whose name is the same."""
    name = "gymnasium_robotics:PointMaze_UMaze-v3"
    keys = ("achieved_goal", "desired_goal", "observation")
    runs = []
    for seed, arguments in enumerate(({}, GOALS)):
        task = load_task(Environment(name, arguments=arguments, keys=keys), f"minari:{MAZE}")
        config = deflow.agent_config("flow-bc", width=8, depth=1)
        learner = deflow.Learner.create(config, task.spec, task.train, key=jax.random.key(0))
        runs.append(create_run(tmp_path, task, config, learner, seed=seed))
    one, other = labels([read_run(run.path) for run in runs])
    assert one != other
