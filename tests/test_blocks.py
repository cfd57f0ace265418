"""Rows in blocks: the same results, and that there are blocks where there is more than one."""

import dataclasses
import os
import subprocess
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from small import SPEC

from deflow import Spec, agent_config, blocks, draw_proposals, encoders, solvers
from deflow.behaviour import proposals
from deflow.blocks import in_blocks
from deflow.testing import example_data

KEY = jax.random.key(0)
EVERYTHING = 1 << 40
"""Rows of a block in which everything is together."""


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(blocks, "ROWS", 6)


def loops(function, *arguments):
    """How many loops the function's program has."""
    return str(jax.make_jaxpr(lambda *arguments: function(*arguments))(*arguments)).count("scan[")


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 9])
def test_entries_are_what_they_are_together(small_blocks, count):
    """Six rows are a block: three entries that stand for two rows each."""

    def sums(left, right, nothing):
        assert nothing is None
        assert left.shape == (4,)
        return {"dot": left @ right, "sum": left + right}

    left, right = np.random.default_rng(0).normal(size=(2, count, 4)).astype(np.float32)

    def run(left, right):
        return in_blocks(sums, left, right, None, rows=2)

    found = run(left, right)
    np.testing.assert_allclose(found["dot"], (left * right).sum(1), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found["sum"], left + right)
    assert bool(loops(run, left, right)) == (count > 3)


def test_an_entry_of_more_rows_than_a_block(small_blocks):
    found = in_blocks(lambda x: 2 * x, jnp.arange(3.0), rows=100)
    np.testing.assert_array_equal(found, [0, 2, 4])


@pytest.mark.parametrize(("algorithm", "count"), [("qc", 32), ("deflow", 7), ("bfn", 4)])
def test_a_loss_and_its_gradient_are_the_same_in_blocks(monkeypatch, algorithm, count):
    """What all other tests of losses take together: the candidates of a small batch."""
    config = agent_config(algorithm, width=4, depth=1, solver=solvers.Euler(steps=2), target_candidates=count)
    data = dataclasses.replace(example_data(SPEC, 40), extras={"trajectory_end": np.arange(40) % 20 == 19})
    agent = reference.perturbed(config.build(SPEC, data, key=KEY))
    batch = agent.with_returns(data)
    moved, rest = eqx.partition(agent, agent.trained())

    def loss(moved):
        return eqx.combine(moved, rest).loss(batch, key=KEY)[0]

    monkeypatch.setattr(blocks, "ROWS", EVERYTHING)
    together = jax.jit(jax.value_and_grad(loss))(moved)
    loops_together = loops(loss, moved)
    monkeypatch.setattr(blocks, "ROWS", 2 * len(batch))
    in_parts = jax.jit(jax.value_and_grad(lambda moved: loss(moved)))(moved)
    assert loops(loss, moved) > loops_together
    for one, other in zip(jax.tree.leaves(together), jax.tree.leaves(in_parts), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


def test_proposals_are_the_same_bits_in_blocks(monkeypatch):
    """80 states of a dispatch: all together, and in 27 blocks, of which the last is incomplete."""
    data = example_data(SPEC, 40)
    agent = agent_config(width=4, depth=1, solver=solvers.Euler(steps=2)).build(SPEC, data, key=KEY)
    monkeypatch.setattr(proposals, "ROWS", 4 * 80)
    monkeypatch.setattr(blocks, "ROWS", EVERYTHING)
    together = draw_proposals(agent, data, 4, key=KEY, progress=False)
    monkeypatch.setattr(blocks, "ROWS", 12)
    jax.clear_caches()
    in_parts = draw_proposals(agent, data, 4, key=KEY, progress=False)
    assert together.actions.shape[:2] == (80, 4)
    np.testing.assert_array_equal(together.actions, in_parts.actions)


def test_images_are_encoded_once_for_all_candidates(monkeypatch):
    """A block would encode them anew."""
    monkeypatch.setattr(blocks, "ROWS", 8)
    spec = Spec((8, 8, 3), 2, "uint8")
    data = example_data(spec, 8)
    encoder = encoders.ImpalaSmallConfig(stacks=(2,), features=4)
    config = agent_config("bfn", width=4, depth=1, solver=solvers.Euler(steps=2), encoder=encoder)
    agent = config.build(spec, data, key=KEY)
    assert agent.target_candidates > 1
    moved, rest = eqx.partition(agent, agent.trained())
    assert not loops(lambda moved: eqx.combine(moved, rest).loss(data.on_device(), key=KEY)[0], moved)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the cores of a process can be set on Linux only")
def test_blocks_are_for_the_cores_that_a_process_may_use():
    """As a sweep pins a run: the machine's other cores have no part in it."""
    pinned = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    words = [sys.executable, "-c", f"{pinned}; from deflow import blocks; print(blocks.ROWS)"]
    assert subprocess.run(words, capture_output=True, text=True, check=True).stdout == "512\n"
