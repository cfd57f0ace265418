"""Training: one update by hand, fused updates, several seeds at once, and a problem whose answer is known."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import stubs
from small import SPEC

from deflow import Batch, Learner, Spec, agent_config, constraints, refiners, solvers, train_offline, trust_regions
from deflow.agent import describe_agent
from deflow.errors import RegistrationWarning
from deflow.replay import Dataset
from deflow.testing import example_data
from deflow.training.offline import check_batch
from deflow.training.updates import FusedUpdates
from deflow.types import trainable

DATA = example_data(SPEC, 30)
KEY = jax.random.key(5)


def config(**parts):
    return agent_config(width=8, depth=2, solver=solvers.Euler(steps=2), **parts)


def learner(key=None, **values):
    return Learner.create(config(), SPEC, DATA, key=jax.random.key(1) if key is None else key, **values)


def run(start, steps, updates_per_dispatch, key=KEY):
    """(steps, learner, metrics) of every dispatch."""
    return list(
        train_offline(start, DATA, steps=steps, key=key, batch_size=8, updates_per_dispatch=updates_per_dispatch)
    )


def equal(one, other):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))


def test_one_update():
    """Adam's first step is rate * sign(slope); then the target follows the critic that was just updated."""
    start, batch = learner(learning_rate=1e-3), DATA[:8].on_device()
    after, metrics = eqx.filter_jit(lambda learner: learner.update(batch, key=KEY))(start)
    parameters, rest = eqx.partition(start.agent, trainable(start.agent))
    slope = jax.jit(jax.grad(lambda p: eqx.combine(p, rest).loss(batch, key=KEY)[0]))(parameters)
    moved = eqx.filter(after.agent, trainable(after.agent))
    for old, new, g in zip(*map(jax.tree.leaves, (parameters, moved, slope)), strict=True):
        g = np.asarray(g, np.float64)
        np.testing.assert_allclose(new - old, -1e-3 * g / (np.abs(g) + 1e-8), rtol=1e-2, atol=2e-6)
    old_target = jax.tree.leaves(start.agent.critic.target.value)
    new_target = jax.tree.leaves(after.agent.critic.target.value)
    critic = jax.tree.leaves(after.agent.critic.members)
    for old, new, at in zip(old_target, new_target, critic, strict=True):
        np.testing.assert_allclose(new, old + 0.005 * (at - old), rtol=1e-6, atol=1e-9)
    assert after.step == 1
    outside = metrics["size"] > metrics["bound"]
    assert outside
    assert after.agent.constraint.log_multiplier == pytest.approx(1.001, abs=1e-6)


def test_optimizer_leaves_out_what_is_fixed():
    start = learner()
    count = sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(start.agent, trainable(start.agent))))
    assert start.parameters == count
    state = [leaf for leaf in jax.tree.leaves(start.optimizer_state) if leaf.ndim > 0 or leaf.dtype == jnp.float32]
    assert sum(leaf.size for leaf in state) == 2 * count
    critic = start.agent.critic
    assert count < sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(start.agent, eqx.is_inexact_array)))
    assert critic.target.value is not critic.members


@pytest.fixture(scope="module")
def alone():
    """Twenty updates of one seed, seven to a dispatch."""
    return run(learner(), 20, 7)


def test_dispatches(alone):
    """Once per dispatch, the last one shorter; metrics are means over a dispatch's updates."""
    assert [step for step, _, _ in alone] == [7, 14, 20]
    assert alone[-1][1].step == 20
    assert {metric.shape for metric in alone[-1][2].values()} == {()}
    assert all(np.isfinite(metric) for metric in alone[-1][2].values())


def test_the_dispatches_do_not_matter(alone):
    """1, 3 or 7 updates per dispatch: the same learner, bit for bit, and the same metrics' sums."""
    ones, threes = run(learner(), 20, 1), run(learner(), 20, 3)
    assert equal(ones[-1][1], alone[-1][1])
    assert equal(threes[-1][1], alone[-1][1])
    first = np.mean([metrics["loss"] for _, _, metrics in ones[:7]])
    np.testing.assert_allclose(alone[0][2]["loss"], first, rtol=1e-5)
    np.testing.assert_allclose(alone[0][2]["size"], np.mean([m["size"] for _, _, m in ones[:7]]), rtol=1e-5)


@pytest.mark.parametrize("keys", [KEY, jax.random.split(KEY, 2)], ids=["one seed", "two seeds"])
def test_a_single_update_without_a_loop_is_the_same_to_rounding(keys):
    looped, single = (FusedUpdates(learner(keys), batch_size=8, precision="float32") for _ in range(2))
    source = Dataset(DATA.on_device())
    for _ in range(3):
        expected, got = looped(source, 1, keys), single.once(source, keys)
    ends = (
        eqx.filter((updates.learner, metrics), eqx.is_array) for updates, metrics in ((single, got), (looped, expected))
    )
    for one, other in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)
    assert single.learner.step.tolist() == looped.learner.step.tolist()


def test_resumed_is_uninterrupted(alone):
    """Ten updates and ten more are twenty."""
    half = run(learner(), 10, 10)[-1][1]
    assert half.step == 10
    assert equal(run(half, 20, 10)[-1][1], alone[-1][1])
    assert run(half, 10, 10) == []


def test_other_keys_train_otherwise(alone):
    other = run(learner(), 7, 7, key=jax.random.key(6))[0][1]
    assert not equal(other, alone[0][1])


def test_seeds_together_agree_with_each_alone(alone):
    """To 1e-4 after 20 updates, in parameters, optimizer and metrics."""
    keys = jnp.stack([jax.random.key(9), jax.random.key(1)])
    together = learner(key=keys)
    assert together.seeds == 2
    assert together.parameters == learner().parameters
    assert eqx.tree_equal(together.seed(1).agent.field, learner().agent.field, rtol=1e-6, atol=1e-7)
    (_, after, metrics), *_ = run(together, 20, 20, key=jnp.stack([jax.random.key(2), KEY]))
    assert metrics["loss"].shape == (2,)
    one, expected = (jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (after.seed(1), alone[-1][1]))
    for got, leaf in zip(one, expected, strict=True):
        np.testing.assert_allclose(got, leaf, atol=1e-4)
    first, second = (after.seed(index).agent.field.network.layers[0].weight for index in (0, 1))
    assert not np.allclose(first, second)
    assert after.seed(0).seeds is None


def test_refuses():
    start = learner()
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        next(train_offline(start, DATA, steps=1, key=KEY, batch_size=0))
    with pytest.raises(ValueError, match="updates_per_dispatch must be at least 1, got -1"):
        next(train_offline(start, DATA, steps=1, key=KEY, updates_per_dispatch=-1))
    with pytest.raises(ValueError, match=r"A learner of shape \(\) needs keys of that shape, got \(2,\)"):
        next(train_offline(start, DATA, steps=1, key=jax.random.split(KEY, 2)))
    with pytest.raises(ValueError, match="learning_rate must be positive and finite, got 0"):
        learner(learning_rate=0.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (example_data(Spec((4,), 2)), r"observations of shape \(3,\), but the dataset's have shape \(4,\)"),
        (example_data(Spec((3,), 5)), r"actions of shape \(2,\), but the dataset's have shape \(5,\)"),
        (example_data(SPEC, 0), "The dataset is empty"),
    ],
)
def test_refuses_data_of_other_sizes(data, message):
    start = learner()
    with pytest.raises(ValueError, match=message):
        check_batch(start, data)
    with pytest.raises(ValueError, match=message):
        next(train_offline(start, data, steps=1, key=KEY))


def test_sampling():
    """Uniform with replacement, rows kept together."""
    rows = np.arange(5, dtype=np.float32)
    data = Batch(rows[:, None], rows[:, None] / 10, rows, rows, rows[:, None] + 1).on_device()
    drawn = Dataset(data).sample(2000, jnp.asarray(0), key=KEY)
    assert np.bincount(np.asarray(drawn.reward, int)).min() > 320
    np.testing.assert_array_equal(drawn.observation[:, 0], drawn.reward)
    np.testing.assert_array_equal(drawn.next_observation[:, 0], drawn.reward + 1)


def test_batches_carry_more_columns():
    """They are sliced along, and no loss reads them."""
    data = Batch(
        DATA.observation, DATA.action, DATA.reward, DATA.mask, DATA.next_observation, {"trajectory_end": DATA.mask}
    )
    assert data[:3].extras["trajectory_end"].shape == (3,)
    assert data.on_device().extras == {}
    assert len(data[:3]) == 3


@pytest.mark.parametrize("slope", [1.0, -1.0])
def test_uphill_by_the_bound_and_no_further(slope):
    """One action, the data all near 0.2, a critic that is known and fixed: Q(a) = 2 +- a.

    The best displacement of mean square 0.01 is the constant +-0.1; nothing else bounds it.
    """
    bound, count = 0.01, 64
    random = np.random.default_rng(0)
    action = (0.2 + 0.02 * random.standard_normal((count, 1))).astype(np.float32)
    zero = np.zeros((count, 1), np.float32)
    data = Batch(zero, action, zero[:, 0], zero[:, 0], zero)
    made = agent_config(
        width=8,
        depth=1,
        solver=solvers.Euler(steps=3),
        trust_region=trust_regions.MeanSquare(bound=bound),
        critic=stubs.Slope(slope),
    )
    start = Learner.create(made, Spec((1,), 1), data, learning_rate=3e-3, key=jax.random.key(0))
    history = list(train_offline(start, data, steps=3000, key=KEY, batch_size=32, updates_per_dispatch=500))
    _, after, metrics = history[-1]
    assert metrics["size"] == pytest.approx(bound, rel=0.15)

    bare = dataclasses.replace(after.agent, refiner=refiners.NoRefiner(), constraint=constraints.NoConstraint())
    keys = jax.random.split(jax.random.key(1), 256)
    act = eqx.filter_jit(lambda agent: jax.vmap(lambda key: agent(jnp.zeros(1), key=key))(keys))
    refined, proposed = np.asarray(act(after.agent)), np.asarray(act(bare))
    moves = refined - proposed
    assert np.mean(proposed) == pytest.approx(0.2, abs=0.05)
    assert np.mean(moves) == pytest.approx(slope * math.sqrt(bound), rel=0.15)
    assert np.mean(np.square(moves)) == pytest.approx(bound, rel=0.2)
    # The slope of the loss vanishes where alpha * 2 * D = dQ/da / mean |q|.
    balance = 1 / (2 * math.sqrt(bound) * (2 + slope * 0.2 + math.sqrt(bound)))
    assert metrics["multiplier"] == pytest.approx(balance, rel=0.25)


class OneJump(solvers.AbstractSolver):
    """A part that its author forgot to register."""

    def __call__(self, velocity, noise):
        return noise + velocity(jnp.zeros(()), noise)


def test_an_unregistered_part_is_said_before_training(registered, recwarn):
    """Once, however many seeds there are; registered afterwards, it can be saved."""
    given = dataclasses.replace(config(), solver=OneJump())
    Learner.create(given, SPEC, example_data(SPEC), key=jax.random.split(KEY, 2))
    (said,) = [warning for warning in recwarn if warning.category is RegistrationWarning]
    assert str(said.message).startswith("OneJump is not registered as a solver: put @deflow.solvers.register(")
    assert str(said.message).endswith("not saved in a run until it is registered.")
    recwarn.clear()
    registered(solvers.registry, "one-jump", OneJump)
    Learner.create(given, SPEC, example_data(SPEC), key=KEY)
    assert not [warning for warning in recwarn if warning.category is RegistrationWarning]
    assert describe_agent(given)["solver"]["name"] == "one-jump"
