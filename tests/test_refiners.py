"""Refiners: the laws, networks against NumPy, and moves by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from small import cases, small

from deflow import refiners
from deflow.errors import LawError
from deflow.refiners import (
    AbstractDirectRefiner,
    AbstractLearnedRefiner,
    AbstractRefiner,
    Inquiry,
    IteratedConfig,
    OneStepRefinerConfig,
    ResidualRefinerConfig,
    ThroughSolver,
    ValueGradient,
)
from deflow.testing import check_refiner, example_context

ASK = Inquiry(value=jnp.sum, size=jnp.sum, project=jnp.negative)


@pytest.mark.parametrize("refiner", **cases("refiner"))
def test_laws(refiner):
    check_refiner(refiner)


def test_residual_against_reference():
    """f(o, proposal), which looks neither at the noise nor at the value."""
    part = reference.perturbed(small(ResidualRefinerConfig()).build(example_context(), key=jax.random.key(0)))
    o, proposal = jnp.asarray([0.3, -2.0, 1.0]), jnp.asarray([0.5, -0.1])
    expected = reference.mlp(reference.arrays(part.network), np.concatenate([o, proposal])[None])[0]
    np.testing.assert_allclose(part(o, jnp.ones(2), proposal, ASK), expected, rtol=1e-5)


def test_residual_does_not_start_at_zero():
    part = ResidualRefinerConfig(width=16, depth=2).build(example_context(), key=jax.random.key(0))
    assert np.all(np.abs(part(jnp.ones(3), jnp.ones(2), jnp.ones(2), ASK)) > 1e-3)


def test_none():
    assert refiners.NoRefiner()(jnp.ones(3), jnp.ones(2), jnp.ones(2), ASK).tolist() == [0.0, 0.0]


def test_refuses_sizes():
    with pytest.raises(ValueError, match="refiner residual: width must be at least 1 unit, got 0"):
        ResidualRefinerConfig(width=0)


def test_one_step_against_reference():
    """mu(o, z), unclipped, and the displacement is from the proposal to it: neither looks at the value."""
    part = reference.perturbed(small(OneStepRefinerConfig()).build(example_context(), key=jax.random.key(0)), scale=2.0)
    o, noise, proposal = jnp.asarray([0.3, -2.0, 1.0]), jnp.asarray([1.7, -0.4]), jnp.asarray([0.5, -0.1])
    expected = reference.mlp(reference.arrays(part.network), np.concatenate([o, noise])[None])[0]
    assert np.abs(expected).max() > 1
    np.testing.assert_allclose(part.act(o, noise), expected, rtol=1e-4)
    np.testing.assert_allclose(part(o, noise, proposal, ASK), expected - proposal, rtol=1e-4)


# --- the value's gradient


def ask(value, radius=np.inf) -> Inquiry:
    """With a ball of this radius for a region."""

    def project(move):
        return move * jnp.minimum(1.0, radius / jnp.maximum(jnp.linalg.norm(move), 1e-9))

    return Inquiry(value=value, size=jnp.linalg.norm, project=project)


STATE, Z, BASE = jnp.zeros(3), jnp.zeros(2), jnp.asarray([0.1, -0.2])


def bowl(scale=1.0, weights=(1.0, 1.0)):
    """A quadratic whose top (0.7, 0.6) is one unit from BASE, in the direction (0.6, 0.8)."""
    return lambda action: -scale * jnp.sum(jnp.asarray(weights) * jnp.square(action - jnp.asarray([0.7, 0.6])))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_value_gradient_by_hand(scale):
    """Three steps of 0.1 toward the top, whatever the value's scale; and no further than the region's edge."""
    part, toward = ValueGradient(steps=3, rate=0.1), np.asarray([0.6, 0.8])
    np.testing.assert_allclose(part(STATE, Z, BASE, ask(bowl(scale))), 0.3 * toward, rtol=1e-4)
    np.testing.assert_allclose(part(STATE, Z, BASE, ask(bowl(scale), radius=0.25)), 0.25 * toward, rtol=1e-4)


def test_value_gradient_on_a_narrow_quadratic():
    """Step by step in NumPy: the gradient is taken where the last step ended, and every step is projected."""
    weights, base, move = np.asarray([1.0, 9.0]), np.asarray(BASE, np.float64), np.zeros(2)
    for _ in range(6):
        slope = -2 * weights * (base + move - np.asarray([0.7, 0.6]))
        move = move + 0.2 * slope / np.linalg.norm(slope)
        move = move * min(1, 0.5 / np.linalg.norm(move))
    found = ValueGradient(steps=6, rate=0.2)(STATE, Z, BASE, ask(bowl(weights=weights.tolist()), radius=0.5))
    np.testing.assert_allclose(found, move, rtol=1e-3, atol=1e-5)
    assert np.linalg.norm(move) == pytest.approx(0.5)


def test_value_gradient_stays_where_the_value_is_flat():
    """And its own gradient there is finite."""

    def moved(base):
        return jnp.sum(ValueGradient()(STATE, Z, base, ask(lambda action: jnp.sum(action) * 0.0)))

    number, slope = jax.value_and_grad(moved)(BASE)
    assert number == 0
    assert slope.tolist() == [0.0, 0.0]


# --- iterated


class Right(AbstractRefiner):
    """0.1 to the right of where it starts, and as far again as that is from the proposal, if asked to."""

    stretch: float = 0.0

    def __call__(self, observation, noise, proposal, inquiry):
        return jnp.asarray([0.1, 0.0]) + self.stretch * inquiry.size(jnp.zeros(2)) * jnp.asarray([1.0, 0.0])


class HalfWay(AbstractRefiner):
    """Half as far to the right as the region allows from where it starts."""

    def __call__(self, observation, noise, proposal, inquiry):
        return 0.5 * inquiry.project(jnp.asarray([10.0, 0.0]))


def iterated(inner, times):
    return IteratedConfig(inner, times).build(example_context(), key=jax.random.key(0))


def test_iterated_takes_its_best_move():
    """Moves of 0.1, 0.2, 0.3, 0.4: the top of the value is at 0.22."""
    value = lambda action: -jnp.square(action[0] - 0.32)  # noqa: E731
    for times, expected in ((1, 0.1), (2, 0.2), (4, 0.2)):
        np.testing.assert_allclose(iterated(Right(), times)(STATE, Z, BASE, ask(value)), [expected, 0], atol=1e-6)


def test_iterated_keeps_the_region_around_the_proposal():
    """Moves end at its edge; what the inner refiner asks about a move is about all of it, from the proposal on."""
    right = lambda action: action[0]  # noqa: E731
    np.testing.assert_allclose(iterated(Right(), 5)(STATE, Z, BASE, ask(right, 0.25)), [0.25, 0], atol=1e-6)
    # 0.2, then 0.1 further, then 0.05 further.
    np.testing.assert_allclose(iterated(HalfWay(), 3)(STATE, Z, BASE, ask(right, 0.4)), [0.35, 0], atol=1e-6)
    # 0.1; then 0.1 + 0.1 further; then 0.1 + 0.3 further.
    np.testing.assert_allclose(iterated(Right(1.0), 3)(STATE, Z, BASE, ask(right)), [0.7, 0], atol=1e-6)


def test_iterating_one_step_of_the_gradient_is_taking_several():
    one, several = iterated(ValueGradient(steps=1, rate=0.1), 4), ValueGradient(steps=4, rate=0.1)
    question = ask(bowl(weights=[1.0, 4.0]), radius=0.35)
    np.testing.assert_allclose(one(STATE, Z, BASE, question), several(STATE, Z, BASE, question), rtol=1e-5)


def test_iterated_is_learned_if_what_it_iterates_is():
    residual = ResidualRefinerConfig(width=4, depth=1)
    for inner, learned in ((residual, True), (ValueGradient(), False), (IteratedConfig(residual), True)):
        part = iterated(inner, 2)
        assert isinstance(part, AbstractLearnedRefiner) == learned
        assert not isinstance(part, AbstractDirectRefiner)


def test_iterated_residual_against_reference():
    """f(o, proposal), then f(o, proposal + f); the second is kept, since the value rises."""
    part = reference.perturbed(iterated(ResidualRefinerConfig(width=4, depth=1), 2))
    network, o = reference.arrays(part.inner.network), jnp.asarray([0.3, -2.0, 1.0])
    first = reference.displace(network, o, np.asarray(BASE))
    second = first + reference.displace(network, o, np.clip(BASE + first, -1, 1))
    assert np.abs(BASE + first).max() < 1
    sign = 1.0 if second[0] > first[0] else -1.0
    for side, expected in ((sign, second), (-sign, first)):
        found = part(o, Z, BASE, ask(lambda action, side=side: side * action[0]))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("inner", [OneStepRefinerConfig(width=4, depth=1), ThroughSolver()])
def test_iterated_refuses_what_ignores_the_proposal(inner):
    with pytest.raises(ValueError, match=r"refiner iterated: .* gives the same action for every proposal"):
        iterated(inner, 2)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ValueGradient(steps=0), "value-gradient: steps must be at least 1, got 0"),
        (lambda: ValueGradient(rate=0.0), "value-gradient: rate must be positive, got 0.0"),
        (lambda: IteratedConfig(times=0), "iterated: times must be at least 1, got 0"),
        (lambda: OneStepRefinerConfig(depth=0), "one-step: depth must be at least 1 hidden layer, got 0"),
    ],
)
def test_refuses_numbers(make, message):
    with pytest.raises(ValueError, match=f"refiner {message}"):
        make()


def test_laws_catch():
    class Learns(AbstractRefiner):
        weight: jax.Array

        def __call__(self, observation, noise, proposal, inquiry):
            return self.weight * proposal

    class Flat(AbstractRefiner):
        def __call__(self, observation, noise, proposal, inquiry):
            return jnp.sum(proposal)

    class Root(AbstractDirectRefiner):
        def act(self, observation, noise):
            return jnp.sqrt(jnp.minimum(noise, -1.0))

    laws = {"AbstractLearnedRefiner": Learns(jnp.ones(())), "must have the shape": Flat(), "must be finite": Root()}
    for law, part in laws.items():
        with pytest.raises(LawError, match=law):
            check_refiner(part)
