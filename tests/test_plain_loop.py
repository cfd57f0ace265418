"""The benchmark's yardstick does the same work as deflow, and learns; it shares no code with it."""

import ast
import importlib
import pathlib

import jax
import numpy as np
import pytest

import deflow
from deflow.testing import example_data

RECIPES = pathlib.Path(__file__).resolve().parents[1] / "recipes"
SPEC = deflow.Spec((3,), 2)


@pytest.fixture
def loop(monkeypatch):
    monkeypatch.syspath_prepend(RECIPES)
    return importlib.import_module("plain.loop")


def test_it_shares_nothing(loop):
    tree = ast.parse(pathlib.Path(loop.__file__).read_text())
    imports = {ast.unparse(node).split()[1] for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)}
    assert imports == {"collections.abc", "jax", "jax.numpy", "numpy", "optax"}


@pytest.mark.parametrize("algorithm", ["deflow", "fql"])
def test_it_learns_the_behaviour(loop, algorithm):
    data = example_data(SPEC, 64)
    names = ("observation", "action", "reward", "mask", "next_observation")
    columns = {name: np.asarray(getattr(data, name)) for name in names}
    once = loop.plain_updates(algorithm, columns, width=32, depth=2, batch_size=64)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # as others write
        losses = [float(once()["flow_loss"]) for _ in range(400)]
    assert np.mean(losses[-50:]) < 0.8 * np.mean(losses[:50])


def test_its_policy_acts_as_it_is_trained_to(loop):
    """By hand: a flow and a refiner of zeros leave the noise where it is, clipped."""
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):  # as others write
        act = loop.plain_policy(3, 2, width=4, depth=1)
        flow, refiner = (jax.tree.map(np.zeros_like, loop.network(jax.random.key(0), size, 2, 4, 1)) for size in (6, 5))
        key, asked = jax.random.key(5), np.ones((7, 3), np.float32)
        proposals = loop.solve(flow, asked, jax.random.normal(key, (7, 2)))
        np.testing.assert_allclose(proposals, np.clip(jax.random.normal(key, (7, 2)), -1, 1), atol=1e-6)
        np.testing.assert_array_equal(loop.apply(refiner, asked, proposals), np.zeros((7, 2)))
        assert act(asked, key).shape == (7, 2)
        assert np.abs(act(asked, key)).max() <= 1


def test_its_networks_have_as_many_parameters(loop):
    key = jax.random.key(0)
    sizes = ((3 + 2 + 1, 2, ()), (3 + 2, 2, ()), (3 + 2, 1, (2,)))  # flow, refiner, critic
    plain = [loop.network(key, inputs, outputs, 16, 3, members) for inputs, outputs, members in sizes]
    count = sum(leaf.size for leaf in jax.tree.leaves(plain)) + 1  # and the multiplier
    assert count == deflow.Learner.create(deflow.agent_config(width=16, depth=3), SPEC, key=key).parameters
