"""The action landscape: what is drawn is what the agent does, for any composition; what cannot be drawn is said."""

import runpy
import shutil
import sys
import warnings
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import deflow
from deflow import constraints, refiners, solvers, trust_regions

ROOT = Path(__file__).parents[1]
MAZE = "pointmaze-medium-navigate-singletask-v0"
CUBE = "cube-single-play-singletask-task2-v0"
ROWS = 20


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    """A task of two action dimensions and one of five, with random data."""
    random, made = np.random.default_rng(0), {}
    for name, sizes in {MAZE: (2, 2), CUBE: (28, 5)}.items():
        file = tmp_path_factory.mktemp("data") / "random.npz"
        columns = {
            "observations": random.normal(size=(ROWS, sizes[0])),
            "actions": random.uniform(-1, 1, (ROWS, sizes[1])),
            "rewards": random.uniform(-1, 0, ROWS),
            "masks": np.arange(ROWS) > 0,
            "terminals": np.arange(ROWS) % 10 == 9,
        }
        columns["next_observations"] = np.roll(columns["observations"], -1, axis=0)
        np.savez(file, **{key: column.astype(np.float32) for key, column in columns.items()})
        made[name] = deflow.load_task(name, deflow.UserData(file))
    return made


@pytest.fixture(scope="module")
def make_run(tasks, tmp_path_factory):
    """An untrained agent in a run's directory, made once."""
    made = {}

    def make(algorithm="deflow", task=MAZE, **parts):
        name = repr((algorithm, task, parts))
        if name not in made:
            config = deflow.agent_config(algorithm, width=8, depth=1, solver=solvers.Euler(steps=2), **parts)
            learner = deflow.Learner.create(config, tasks[task].spec, tasks[task].train, key=jax.random.key(0))
            folder = tmp_path_factory.mktemp("runs")
            made[name] = deflow.create_run(folder, tasks[task], config, learner, seed=0, algorithm=algorithm)
            made[name].save(1, learner)
        return made[name]

    return make


@pytest.fixture
def recipe(monkeypatch, tmp_path):
    """Runs the recipe as a script, in this process."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["recipes/landscape.py", *map(str, arguments)])
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the recipe replaces it
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.chdir(tmp_path)
        runpy.run_path(str(ROOT / "recipes/landscape.py"), run_name="__main__")

    return run


def explained(run, tasks, task=MAZE, row=0, **options):
    names = runpy.run_path(str(ROOT / "recipes/landscape.py"))
    agent, data = deflow.load(run).agent, tasks[task].train
    given = names["Landscape"](run=run.path, proposals=5, **options)
    return agent, data.observation[row], names["explain"](agent, data.observation[row], data.action[row], given)


WITHOUT_REFINER = {
    "refiner": refiners.NoRefiner(),
    "constraint": constraints.NoConstraint(),
    "trust_region": trust_regions.NoTrustRegion(),
    "candidates": 4,
}


# --- what is drawn


def test_values_proposals_and_region_are_the_agents(make_run, tasks):
    agent, observation, shown = explained(make_run(task=CUBE), tasks, CUBE, dimensions=(3, 1))

    @eqx.filter_jit
    def expected(agent, observation, noise):
        features = agent.field.encode(observation)
        proposal = jnp.clip(agent.solver(lambda time, point: agent.field(features, point, time), noise), -1, 1)
        moved = agent.refiner.network(jnp.concatenate([features, proposal]))
        return proposal, jnp.clip(proposal + moved, -1, 1)

    for row, noise in enumerate(jax.random.normal(jax.random.key(0), (5, 5))):
        proposal, action = expected(agent, jnp.asarray(observation), noise)
        np.testing.assert_allclose(shown.proposals[row], proposal, atol=1e-5)
        np.testing.assert_allclose(shown.actions[row], action, atol=1e-5)
    value = eqx.filter_jit(agent.critic.value)
    for side, others in ((shown.overview, shown.actions.mean(axis=0)), (shown.close_up, shown.actions[shown.marked])):
        point = np.array(others)
        point[3], point[1] = side.horizontal[70], side.vertical[20]
        np.testing.assert_allclose(side.values[20, 70], value(jnp.asarray(observation), point), rtol=1e-4)
        assert side.horizontal[0] < shown.proposals[shown.marked, 3] < side.horizontal[-1]
    move = np.array([shown.close_up.horizontal[70], shown.close_up.vertical[20]])
    move -= shown.proposals[shown.marked, [3, 1]]
    np.testing.assert_allclose(shown.sizes[20, 70], np.sum(move**2) / 5, rtol=1e-4)
    assert shown.bound == pytest.approx(0.001)
    assert shown.size == pytest.approx(np.mean((shown.actions - shown.proposals) ** 2), rel=1e-4)


def test_the_dimensions_of_the_largest_displacements():
    names = runpy.run_path(str(ROOT / "recipes/landscape.py"))
    moves = np.array([[0.1, 0.0, -0.3, 0.2], [0.1, 0.0, -0.3, -0.2]])
    assert names["most_moved"](moves) == (2, 3)


def test_of_several_candidates_the_best_is_marked(make_run, tasks):
    agent, observation, shown = explained(make_run(**WITHOUT_REFINER), tasks)
    score = eqx.filter_jit(agent.critic.score)
    scores = [score(jnp.asarray(observation), action) for action in shown.actions[:4]]
    assert shown.best == int(np.argmax(scores))


# --- the recipe


def test_the_state_of_largest_gain_is_drawn(make_run, recipe, tmp_path, capsys):
    recipe(make_run(task=CUBE).path)
    said = capsys.readouterr().out
    assert "of the data, action dimension " in said
    assert "the bound is 0.001" in said
    assert (tmp_path / "landscape.png").stat().st_size > 20_000


@pytest.mark.parametrize(
    "parts",
    [
        WITHOUT_REFINER,
        {"refiner": refiners.registry["one-step"](width=8, depth=1)},
    ],
    ids=["no refiner", "one-step"],
)
def test_other_compositions(make_run, recipe, tmp_path, parts, capsys):
    recipe(make_run(**parts).path, "--observation", 3, "--proposals", 6, "--output", tmp_path / "a.png")
    assert "row 3 of the data, action dimension 0 and action dimension 1" in capsys.readouterr().out
    assert (tmp_path / "a.png").stat().st_size > 20_000


def test_of_a_chunk_the_executed_actions_are_drawn_and_named(make_run, recipe, capsys):
    path = make_run(chunk=3, execute=1).path
    recipe(path, "--observation", 3)
    assert "of the data, dimension 0 of the chunk's action 1 and dimension 1 of" in capsys.readouterr().out
    recipe(path, "--observation", 3, "--dimensions", 1, 4)
    assert "dimension 1 of the chunk's action 1 and dimension 0 of the chunk's action 3" in capsys.readouterr().out


def test_without_the_data_an_episodes_first_state_is_drawn(make_run, recipe, capsys, tmp_path):
    path = shutil.copytree(make_run().path, tmp_path / "run")
    config = (path / "config.json").read_text()
    (path / "config.json").write_text(config.replace("random.npz", "gone.npz"))
    recipe(path)
    assert "an episode's first state, seed 0 (the data is not there)" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        recipe(path, "--observation", 3)
    assert "gone.npz" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("algorithm", "arguments", "expected"),
    [
        ("flow-bc", [], "has the critic 'none', so there is no value to draw"),
        ("deflow", ["--dimensions", 0, 2], "--dimensions must be two different numbers from 0 to 1, got (0, 2)"),
        ("deflow", ["--observation", 99], "--observation must be a row of the data, 0 to 19, got 99"),
        ("deflow", ["--proposals", 0], "--proposals must be at least 1, got 0"),
        ("deflow", ["--observation", 0, "--output", "nowhere/a.png"], "Cannot write nowhere/a.png"),
    ],
)
def test_what_is_refused_is_said_in_one_sentence(make_run, recipe, capsys, algorithm, arguments, expected):
    with pytest.raises(SystemExit):
        recipe(make_run(algorithm).path, *arguments)
    said = capsys.readouterr().err
    assert expected in said
    assert said.startswith("error: ")
