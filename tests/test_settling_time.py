"""Settling times: what counts as settled, what is moved and what is kept, and the recipe on a tiny run."""

import dataclasses
import json
import runpy
import sys
import warnings
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

import deflow
from deflow import constraints, solvers

ROOT = Path(__file__).parents[1]
TASK = "cube-single-play-singletask-task2-v0"


@pytest.fixture(scope="module")
def recipe():
    return runpy.run_path(str(ROOT / "recipes/settling_time.py"))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An untrained agent of random data, in a run's directory."""
    random, folder = np.random.default_rng(0), tmp_path_factory.mktemp("settling")
    columns = {
        "observations": random.normal(size=(20, 28)),
        "actions": random.uniform(-1, 1, (20, 5)),
        "rewards": random.uniform(-1, 0, 20),
        "masks": np.arange(20) > 0,
        "terminals": np.arange(20) % 10 == 9,
    }
    np.savez(folder / "random.npz", **{key: column.astype(np.float32) for key, column in columns.items()})
    task = deflow.load_task(TASK, deflow.UserData(folder / "random.npz"))
    config = deflow.agent_config(width=8, depth=1, solver=solvers.Euler(steps=1))
    learner = deflow.Learner.create(config, task.spec, task.train, key=jax.random.key(0))
    run = deflow.create_run(folder, task, config, learner, seed=0)
    run.save(1, learner)
    return run, config, learner


@pytest.mark.parametrize(
    ("sizes", "time"),
    [([1.0, 1.05], 0), ([0.5, 0.95, 1.2, 1.09, 0.91], 300), ([3.0, 1.0, 1.5], None)],
)
def test_settled_is_for_good(recipe, sizes, time):
    options = recipe["SettlingTime"](Path("run"), window=100)
    assert recipe["settling_time"](0.02 * np.asarray(sizes), 0.02, options) == time


def test_only_the_multiplier_is_moved(recipe, run):
    """Also where the constraint has other arrays; Adam's averages of everything else stay."""
    _, config, learner = run
    learner = jax.tree.map(lambda leaf: leaf + 1 if eqx.is_inexact_array(leaf) else leaf, learner)
    pid = dataclasses.replace(config, constraint=constraints.PIDConstraintConfig(initial_log_multiplier=2.0))
    moved = recipe["with_constraint"](learner, pid)
    assert moved.agent.constraint.multiplier() == pytest.approx(np.exp(2.0))
    for of in (lambda tree: tree.agent, lambda tree: tree.optimizer_state[0].mu):
        for part in ("field", "refiner", "critic"):
            assert eqx.tree_equal(getattr(of(moved), part), getattr(of(learner), part))
    batch = deflow.testing.example_data(learner.agent.spec, 4).on_device()
    after, _ = eqx.filter_jit(lambda one: one.update(batch, key=jax.random.key(1)))(moved)
    assert jax.tree.structure(after) == jax.tree.structure(moved)


def test_the_recipe_measures_every_constraint_from_both_sides(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the recipe replaces it
    flags = ["--updates", "2", "--window", "1", "--reference", "4", "--output", str(tmp_path / "new" / "settling.json")]
    monkeypatch.setattr(sys, "argv", ["recipes/settling_time.py", str(run[0].path), *flags])
    runpy.run_path(str(ROOT / "recipes/settling_time.py"), run_name="__main__")
    measured = json.loads((tmp_path / "new" / "settling.json").read_text())
    assert len(measured["settled"]) == 6
    for label, curve in measured["curves"].items():
        assert len(curve["size"]) == len(curve["multiplier"]) == 2
        factor = 10 if label.endswith("from 10 x") else 0.1
        assert curve["multiplier"][0] == pytest.approx(factor * measured["multiplier"], rel=0.2)
    assert (tmp_path / "new" / "settling.png").stat().st_size > 1000
    assert "settled multiplier" in capsys.readouterr().out
