"""Critics: the laws, the aggregations and the target's rate by hand."""

import dataclasses
import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from jaxtyping import TypeCheckError
from small import SPEC, cases, small

from deflow.critics import AbstractCritic, EnsembleCritic, EnsembleCriticConfig, NoCritic, aggregate, check_aggregation
from deflow.testing import LawError, check_critic, example_context, example_data
from deflow.types import Fixed


@pytest.mark.parametrize("critic", **cases("critic"))
def test_laws(critic):
    check_critic(critic)


def test_laws_of_another_aggregation():
    check_critic(EnsembleCriticConfig(members=3, aggregation="mean-std", width=8, depth=1))


def ensemble(**values) -> EnsembleCritic:
    return small(EnsembleCriticConfig(**values)).build(example_context(), key=jax.random.key(0))


def test_members_are_independent_and_the_target_is_a_copy():
    critic = ensemble(members=3)
    first = np.asarray(critic.members.network.layers[0].weight)
    assert first.shape == (3, 8, 5)
    assert not np.allclose(first[0], first[1])
    assert eqx.tree_equal(critic.members, critic.target.value)
    assert critic.members.network.norms[0].weight.shape == (3, 8)
    assert critic.next_actions == 1


def test_values_against_reference():
    critic = reference.perturbed(ensemble(members=3, aggregation="min"))
    o, a = example_data(SPEC, 4).observation, example_data(SPEC, 4).action
    networks = [reference.arrays(critic.members.network, member) for member in range(3)]
    expected = reference.values(networks, o, a)
    np.testing.assert_allclose(jax.vmap(critic.value)(o, a), expected.mean(0), rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(critic.score)(o, a), expected.min(0), rtol=1e-5)


@pytest.mark.parametrize(
    ("aggregation", "number"),
    [("mean", 2.0), ("min", -1.0), ("mean-std", 2.0 - 0.5 * np.std([-1.0, 3.0, 4.0]))],
)
def test_aggregations(aggregation, number):
    assert aggregate(jnp.asarray([-1.0, 3.0, 4.0]), aggregation, 0.5) == pytest.approx(number)


def test_equal_members_have_a_finite_slope():
    slope = jax.grad(lambda values: aggregate(values, "mean-std", 0.5))(jnp.asarray([1.0, 1.0]))
    assert slope.tolist() == [0.5, 0.5]


def test_loss_by_hand():
    """Networks that say their last bias: Q = (1, 3), target (5, 2), r = 0.5, discount 0.9."""

    def says(numbers, part):
        part = jax.tree.map(jnp.zeros_like, part)
        return eqx.tree_at(lambda m: m.network.layers[-1].bias, part, jnp.asarray(numbers)[:, None])

    critic, row = ensemble(aggregation="min"), example_data(SPEC, 8).on_device()[1]
    critic = dataclasses.replace(critic, members=says([1.0, 3.0], critic.members))
    critic = dataclasses.replace(critic, target=Fixed(says([5.0, 2.0], critic.members)))
    for mask, aggregation, target in ((1.0, "min", 2.3), (0.0, "min", 0.5), (1.0, "mean", 3.65)):
        transition = dataclasses.replace(row, reward=jnp.asarray(0.5), mask=jnp.asarray(mask))
        part = dataclasses.replace(critic, aggregation=aggregation)
        loss, metrics = part.loss(transition, jnp.zeros((1, 2)), key=jax.random.key(0))
        assert loss == pytest.approx(((1 - target) ** 2 + (3 - target) ** 2) / 2)
        assert metrics["critic_target"] == pytest.approx(target)
        assert metrics["critic_value"] == pytest.approx(2.0)


def test_target_rate_by_hand():
    """From 0 toward 8 at a rate of a quarter: 2, then 3.5."""
    critic = ensemble(target_rate=0.25)
    weights = [jax.tree.map(lambda leaf, to=to: jnp.full_like(leaf, to), critic.members) for to in (0.0, 8.0)]
    critic = dataclasses.replace(critic, members=weights[1], target=Fixed(weights[0]))
    for expected in (2.0, 3.5):
        critic = critic.advance()
        assert all(np.all(leaf == expected) for leaf in jax.tree.leaves(critic.target.value))
        assert all(np.all(leaf == 8.0) for leaf in jax.tree.leaves(critic.members))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"members": 0}, "members must be at least 1, got 0"),
        ({"target_rate": 0.0}, r"target_rate must be in \(0, 1\], got 0.0"),
        ({"target_rate": 1.1}, "target_rate must be in"),
        ({"deviations": -1.0}, "deviations must not be negative"),
        ({"width": 0}, "width must be at least 1"),
    ],
)
def test_refuses(values, message):
    with pytest.raises(ValueError, match=f"critic ensemble: {message}"):
        EnsembleCriticConfig(**values)


def test_refuses_an_unknown_aggregation():
    """In the tests the types are checked first; `__wrapped__` is the function behind that."""
    with pytest.raises((ValueError, TypeCheckError), match="aggregation"):
        EnsembleCriticConfig(aggregation="median")
    with pytest.raises(ValueError, match="part: aggregation must be mean, min or mean-std, got 'median'"):
        inspect.unwrap(check_aggregation)("part", "median", 0.5)


def test_none_refuses_to_value():
    with pytest.raises(ValueError, match="choose a critic"):
        NoCritic().score(jnp.ones(3), jnp.ones(2))


class Leaks(AbstractCritic):
    """Its target is not held."""

    weight: jax.Array
    target: Fixed
    hold: bool
    next_actions: int = 1

    def value(self, observation, action):
        return self.weight * jnp.sum(action)

    def score(self, observation, action):
        return self.value(observation, action)

    def loss(self, transition, next_actions, *, key):
        target = self.target.value * jnp.sum(next_actions)
        target = jax.lax.stop_gradient(target) if self.hold else target
        return jnp.square(self.value(transition.observation, transition.action) - target), {}

    def advance(self):
        return self


def test_laws_catch():
    check_critic(Leaks(jnp.ones(()), Fixed(jnp.ones(())), True))
    with pytest.raises(LawError, match="gradient in the next actions"):
        check_critic(Leaks(jnp.ones(()), Fixed(jnp.ones(())), False))
