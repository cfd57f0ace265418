"""Intrinsic action variance: against brute force, beside the data, and as the bound of every trust region."""

import dataclasses
import json
import math
import runpy
import sys
import warnings

import jax
import numpy as np
import pytest
from in_process import recipe
from small import small
from test_recipes import ENV, ROOT, TINY

import deflow
from deflow.agent import KINDS, resolve_bound_with_reason, variance_factor, with_placeholder_bound
from deflow.data import Provenance, Task, neighbours
from deflow.data.action_variance import EDGES, action_variance, sidecar, task_action_variance
from deflow.environments import ActionBounds, Environment
from deflow.errors import DataError, DataWarning
from deflow.types import Spec

RANDOM = np.random.default_rng(0)
STATES = RANDOM.standard_normal((60, 3)).astype(np.float32) * np.float32([1.0, 10.0, 0.1])
ACTIONS = RANDOM.uniform(-1, 1, (60, 2)).astype(np.float32)


def brute_force(states, actions, k):
    """Row by row, in plain NumPy."""
    states = states[:, states.std(0) > 1e-6]
    states = (states - states.mean(0)) / states.std(0)
    variances = []
    for row, state in enumerate(states):
        distance = np.linalg.norm(states - state, axis=1)
        distance[row] = np.inf
        variances.append(np.var(actions[np.argsort(distance)[:k]], axis=0, ddof=1).mean())
    return np.asarray(variances)


def quiet(states, actions, **settings):
    return action_variance(states, actions, progress=False, **settings)


@pytest.mark.parametrize("k", [2, 5])
def test_is_what_brute_force_gives(k):
    found, expected = quiet(STATES, ACTIONS, neighbours=k, sha256="abc"), brute_force(STATES, ACTIONS, k)
    assert found.value == pytest.approx(expected.mean(), rel=1e-5)
    assert found.quantiles[2] == pytest.approx(np.median(expected), rel=1e-5)
    assert (found.neighbours, found.rows, found.sha256, sum(found.counts)) == (k, 60, "abc", 60)
    assert len(found.counts) == len(EDGES) - 1


def test_constant_dimensions_do_not_count():
    constant = np.full((60, 1), 0.1, np.float32)
    assert quiet(np.hstack([STATES, constant]), ACTIONS) == quiet(STATES, ACTIONS)
    assert quiet(np.repeat(constant, 3, 1)[:3], ACTIONS[:3], neighbours=2).rows == 3


def test_the_state_itself_is_left_out_and_its_duplicates_are_not():
    """Three equal states with the actions 0, 0.2 and 0.6, and three others far away with equal actions."""
    states = np.asarray([[0.0], [0.0], [0.0], [9.0], [9.1], [9.2]], np.float32)
    actions = np.asarray([[0.0], [0.2], [0.6], [1.0], [1.0], [1.0]], np.float32)
    pairs = [(0.2 - 0.6) ** 2 / 2, 0.6**2 / 2, 0.2**2 / 2]  # of two numbers: half their squared difference
    assert quiet(states, actions, neighbours=2).value == pytest.approx(sum(pairs) / 6, rel=1e-5)


@pytest.mark.parametrize(
    ("states", "actions", "k", "said"),
    [
        (STATES, ACTIONS, 1, "at least 2 neighbours, got 1"),
        (STATES[:5], ACTIONS[:5], 5, "at least 6 transitions, got 5"),
        (STATES, np.where(np.arange(60)[:, None] == 7, np.nan, ACTIONS), 5, "action of row 7 is not finite"),
        (np.where(np.arange(60)[:, None] == 3, np.inf, STATES), ACTIONS, 5, "observation of row 3 is not finite"),
        (np.zeros((9, 4, 4, 3)), ACTIONS[:9], 5, "give the trust region's bound as a number"),
        (STATES, ACTIONS[:9], 5, "one row of each per transition"),
    ],
)
def test_refuses_what_has_no_variance(states, actions, k, said):
    with pytest.raises(DataError, match=said):
        quiet(states, actions, neighbours=k)


def test_the_search_in_leaves_and_processes_is_exact(monkeypatch):
    """Correlated columns, many equal rows, and a few that are very far away."""
    x = np.concatenate([RANDOM.standard_normal((900, 4)), np.zeros((200, 4)), 1e4 * RANDOM.standard_normal((3, 4))])
    x = np.column_stack([x, x[:, 0] + 0.1 * x[:, 1]])
    monkeypatch.setattr(neighbours, "_LEAF_ROWS", 40)
    found = neighbours.nearest_rows(x, 4, progress=False)
    distances = np.square(x[:, None] - x[None]).sum(-1)
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_allclose(np.take_along_axis(distances, found, 1), np.sort(distances, 1)[:, :4], rtol=1e-9)
    assert np.all(found != np.arange(len(x))[:, None])
    monkeypatch.setattr(neighbours, "_ROWS_ALONE", 100)
    np.testing.assert_array_equal(neighbours.nearest_rows(x, 4, workers=2, progress=False), found)


# --- beside the data


@pytest.fixture
def task(tmp_path):
    """A task whose data is in a folder of its own."""
    row = np.ones(60, np.float32)
    batch = deflow.Batch(STATES, ACTIONS, row, row, STATES)
    provenance = Provenance("user", "mine", str(tmp_path / "mine.npz"), 60, "0" * 64)
    return Task(Environment(ENV), Spec((3,), 2), batch, None, provenance, ActionBounds((-1, -1), (1, 1)))


def test_is_kept_beside_the_data_and_a_stale_one_is_made_anew(task):
    first, path = task_action_variance(task, progress=False), sidecar(task)
    assert path.name == "mine.action_variance.json"
    assert first == quiet(STATES, ACTIONS, sha256="0" * 64)
    marked = {**json.loads(path.read_text()), "value": 7.0}
    path.write_text(json.dumps(marked))
    assert task_action_variance(task, progress=False).value == 7.0  # read
    assert task_action_variance(task, neighbours=4, progress=False).neighbours == 4  # another question
    for stale in (json.dumps({**marked, "sha256": "1" * 64}), json.dumps({"value": 7.0}), "[]", "{"):
        path.write_text(stale)
        assert task_action_variance(task, progress=False) == first
        assert json.loads(path.read_text())["value"] == first.value


def test_a_folder_that_cannot_be_written_is_a_warning(task):
    nowhere = dataclasses.replace(task.provenance, path="/nowhere/mine.npz")
    with pytest.warns(DataWarning, match="was not saved: /nowhere/"):
        task_action_variance(dataclasses.replace(task, provenance=nowhere), progress=False)


# --- as a bound


def auto(name):
    region = KINDS["trust_region"][name](bound="auto")
    return dataclasses.replace(deflow.agent_config("deflow"), trust_region=region)


UNMEASURED = {"none", "anchored"}  # they measure no displacements


@pytest.mark.parametrize("name", [name for name in KINDS["trust_region"] if name not in UNMEASURED])
def test_every_region_gets_a_number(name, task):
    """m = 0.1 V: mean-square m, ball sqrt(2 m), box sqrt(m)."""
    config, reason = resolve_bound_with_reason(auto(name), task, progress=False)
    square = 0.1 * quiet(STATES, ACTIONS).value
    known = {"mean-square": square, "ball": math.sqrt(2 * square), "box": math.sqrt(square)}
    bound = config.trust_region.bound
    assert bound == pytest.approx(known.get(name, bound), rel=1e-3)
    assert bound > 0
    assert reason == f"{name}, bound {bound:g} (auto: 0.1 x IAV {10 * square:.4g})"
    assert deflow.resolve_bound(config, task) is config
    small_config = dataclasses.replace(config, **{kind: small(getattr(config, kind)) for kind in KINDS})
    assert small_config.build(task.spec, task.train, key=jax.random.key(0)).trust_region.limit == bound


def test_the_factor_depends_on_the_task(task):
    maze = dataclasses.replace(task, environment=Environment("pointmaze-medium-navigate-singletask-task1-v0"))
    bound = [
        deflow.resolve_bound(auto("mean-square"), which, progress=False).trust_region.bound for which in (task, maze)
    ]
    assert bound[1] == pytest.approx(10 * bound[0], rel=1e-3)
    for name in ("antmaze-large", "humanoidmaze-medium", "antsoccer-arena", "visual-antmaze-large", "antmaze-umaze-v2"):
        assert variance_factor(name) == 1.0
    assert {variance_factor(name) for name in ("cube-single", "scene", "pen-human-v1")} == {0.1}


def test_no_bound_follows_from_actions_that_never_differ(task):
    same = dataclasses.replace(task, train=dataclasses.replace(task.train, action=np.zeros((60, 2), np.float32)))
    with pytest.raises(ValueError, match="no bound can be computed: give"):
        deflow.resolve_bound(auto("ball"), same, progress=False)


def test_auto_waits_for_the_data(task):
    with pytest.raises(ValueError, match="bound is 'auto'"):
        auto("per-state").build(task.spec, task.train, key=jax.random.key(0))
    assert with_placeholder_bound(auto("box")).trust_region.bound == 1.0
    none = dataclasses.replace(auto("box"), trust_region=deflow.trust_regions.NoTrustRegion())
    assert with_placeholder_bound(none) is none
    assert deflow.resolve_bound(none, task) is none


# --- recipes


def test_the_recipe_says_the_number_and_training_uses_it(data_dir, tmp_path, monkeypatch, capfd):
    arguments = ["--env", ENV, "--data", "collected", "--rows", "1000", "--data-dir", str(data_dir), "--workers", "1"]
    monkeypatch.setattr(sys, "argv", ["action_variance.py", *arguments, "--picture", str(tmp_path / "variance.png")])
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # the recipe replaces it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a tiny set holds no success
        runpy.run_path(str(ROOT / "recipes/action_variance.py"), run_name="__main__")
    said = capfd.readouterr().out
    for name in ("mean-square", "ball", "box", "ellipsoid", "per-state"):
        assert f"trust-region:{name}" in said
    assert "Next: python recipes/offline.py" in said
    assert (tmp_path / "variance.png").stat().st_size > 10_000
    (kept,) = data_dir.rglob("*.action_variance.json")
    value = json.loads(kept.read_text())["value"]
    bound = float(f"{0.1 * value:.4g}")

    common = ["--env", ENV, "--data-dir", data_dir, "--output-dir", tmp_path, *TINY, "--critic.width", 8]
    trained = recipe("offline", *common, "--trust-region.bound", "auto")
    assert trained.returncode == 0, trained.stderr
    assert f"mean-square, bound {bound:g} (auto: 0.1 x IAV {value:.4g})" in trained.stdout
    (path,) = (tmp_path / ENV / "deflow").glob("seed0-*")
    run = deflow.Run.open(path)
    assert run.config["agent"]["trust_region"]["fields"] == {"bound": bound}
    assert run.read("train")["training/bound"][-1] == pytest.approx(bound)
    resumed = recipe("offline", "--resume", path, "--steps", 40)
    assert resumed.returncode == 0, resumed.stderr
    assert list(run.read("train")["step"])[-1] == 40
