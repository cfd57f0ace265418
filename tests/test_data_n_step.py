"""Returns of n steps, against a loop over trajectories, and where training uses them."""

import dataclasses
import importlib
from pathlib import Path
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from small import SPEC

import deflow
from deflow import agent_config, solvers
from deflow.data.n_step import n_step_returns
from deflow.testing import example_data
from deflow.training import Learner, train_offline
from deflow.types import Batch


def data(seed=0, size=300, ends=0.1, solved=0.1):
    """Trajectories of random lengths, which go on after the task was solved."""
    random = np.random.default_rng(seed)
    terminal = (random.random(size) < ends).astype(np.float32)
    terminal[-1] = 1
    mask = (random.random(size) >= solved).astype(np.float32)
    return dataclasses.replace(example_data(SPEC, size), mask=mask, extras={"trajectory_end": terminal})


def looped(batch: Batch, steps: int, discount: float):
    """Row by row, as the definition reads: (return, factor of the value that follows, row it follows)."""
    for start in range(len(batch)):
        total, factor = 0.0, 1.0
        for row in range(start, start + steps):
            total += factor * float(batch.reward[row])
            factor *= discount
            if batch.mask[row] == 0 or batch.extras["trajectory_end"][row]:
                break
        yield total, factor * float(batch.mask[row]), row


@pytest.mark.parametrize("steps", [2, 3, 5, 20])
def test_against_a_loop(steps):
    batch, discount = data(), 0.9
    found = n_step_returns(batch, steps, discount=discount)
    totals, factors, rows = map(np.array, zip(*looped(batch, steps, discount), strict=True))
    np.testing.assert_allclose(found.reward, totals, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(discount * found.mask, factors, rtol=1e-6)
    np.testing.assert_array_equal(found.next_observation, batch.next_observation[rows])
    np.testing.assert_array_equal(found.observation, batch.observation)
    np.testing.assert_array_equal(found.action, batch.action)
    followed = set(rows - np.arange(len(batch)))
    assert followed >= set(range(min(steps, 8)))
    assert max(followed) < steps
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {leaf.dtype for leaf in jax.tree.leaves(batch)}


def test_worked_out_by_hand():
    """A trajectory of three, cut off; then one of two, solved in its first transition."""
    batch = dataclasses.replace(
        example_data(SPEC, 5),
        reward=np.float32([-1, -2, -4, 8, 16]),
        mask=np.float32([1, 1, 1, 0, 1]),
        extras={"trajectory_end": np.float32([0, 0, 1, 0, 1])},
    )
    found = n_step_returns(batch, 3, discount=0.5)
    np.testing.assert_array_equal(found.reward, np.float32([-3, -4, -4, 8, 16]))
    np.testing.assert_array_equal(found.mask, np.float32([0.25, 0.5, 1, 0, 1]))
    np.testing.assert_array_equal(found.next_observation, batch.next_observation[[2, 2, 2, 3, 4]])


def test_one_step_is_the_data_itself():
    batch = data()
    assert n_step_returns(batch, 1, discount=0.9) is batch


def test_the_last_row_ends_a_trajectory_whatever_it_says():
    batch = data(ends=0, solved=0)
    batch.extras["trajectory_end"][-1] = 0
    assert n_step_returns(batch, 5, discount=0.9).mask[-1] == 1


def test_returns_of_whole_trajectories_are_monte_carlo():
    """With as many steps as a trajectory has, nothing of the critic is left but the value behind its end."""
    batch = data(solved=0)
    found, last = n_step_returns(batch, 300, discount=1.0), np.flatnonzero(batch.extras["trajectory_end"])
    for first, end in zip([0, *(last[:-1] + 1)], last, strict=True):
        expected = np.cumsum(batch.reward[first : end + 1][::-1].astype(float))[::-1]
        np.testing.assert_allclose(found.reward[first : end + 1], expected, rtol=1e-5, atol=1e-5)


def test_data_that_does_not_say_where_trajectories_end():
    batch = dataclasses.replace(data(), extras={})
    with pytest.raises(ValueError, match=r'5-step returns need .* extras\["trajectory_end"\] .* or use n_step=1'):
        n_step_returns(batch, 5, discount=0.9)
    assert n_step_returns(batch, 1, discount=0.9) is batch


def test_training_uses_the_agents_own_number():
    """The same parameters come out of an agent of several steps, and of one of one step that is given such data."""
    batch, key = data(), jax.random.key(1)
    config = agent_config("deflow-best", width=8, depth=1, solver=solvers.Euler(steps=1), discount=0.8, n_step=5)

    def trained(n_step, rows):
        own = dataclasses.replace(config, n_step=n_step)
        fresh = Learner.create(own, SPEC, batch, key=jax.random.key(0))
        *_, (_, learner, _) = train_offline(fresh, rows, steps=3, key=key, batch_size=16)
        return learner.agent.critic.members.network.layers[0].weight

    several = trained(5, batch)
    np.testing.assert_array_equal(several, trained(1, n_step_returns(batch, 5, discount=0.8)))
    assert np.any(several != trained(1, batch))


def test_online_training_starts_from_the_same_returns(monkeypatch):
    """What the recipe fills the replay with."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "recipes")
    recipe, filled = importlib.import_module("offline_to_online"), []

    def make_replay(dataset, *_, **__):
        filled.append(dataset)
        raise InterruptedError("It has what this test wants.")

    monkeypatch.setattr(deflow, "make_replay", make_replay)
    batch, task = data(), SimpleNamespace(train=data(), spec=SPEC)
    config = agent_config("deflow-best", width=8, depth=1, discount=0.8, n_step=4)
    learner = Learner.create(config, SPEC, batch, key=jax.random.key(0))
    with pytest.raises(InterruptedError):
        recipe.interact(recipe.OfflineToOnline(), task, None, SimpleNamespace(learner=learner), None, None)
    expected = n_step_returns(batch, 4, discount=0.8)
    np.testing.assert_array_equal(filled[0].reward, expected.reward)
    np.testing.assert_array_equal(filled[0].mask, expected.mask)


def test_returns_are_not_made_of_returns():
    batch = n_step_returns(data(), 3, discount=0.9)
    with pytest.raises(ValueError, match="have 3-step returns already: give them as they were loaded"):
        n_step_returns(batch, 3, discount=0.9)
    assert n_step_returns(batch, 1, discount=0.9) is batch


@pytest.mark.parametrize("wrong", [0, -1])
def test_sizes_below_one(wrong):
    with pytest.raises(ValueError, match=f"n_step must be at least 1, got {wrong}"):
        agent_config(n_step=wrong)
