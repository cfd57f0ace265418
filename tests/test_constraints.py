"""Constraints: the laws, and the multiplier's sign and speed by hand."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest
from small import cases

from deflow.constraints import (
    AbstractSoftConstraint,
    DualConstraint,
    DualConstraintConfig,
    NoConstraint,
    Penalty,
    PIDConstraintConfig,
    Projection,
)
from deflow.errors import LawError
from deflow.testing import check_constraint, example_context
from deflow.types import Fixed, trainable


@pytest.mark.parametrize("constraint", **cases("constraint"))
def test_laws(constraint):
    check_constraint(constraint)
    check_constraint(constraint, bound=3.0)


def dual(log_multiplier=1.0, speed=1.0) -> DualConstraint:
    return DualConstraintConfig(log_multiplier, speed).build(example_context(), key=jax.random.key(0))


def test_dual_by_hand():
    """e^0.5 * 0.3 - 0.5 * (0.3 - 0.1); the slopes are e^0.5 and -(0.3 - 0.1)."""
    part, size = dual(0.5), jnp.asarray(0.3)
    assert part.multiplier() == pytest.approx(math.exp(0.5))
    loss, slopes = jax.value_and_grad(lambda parts: parts[0].loss(parts[1], 0.1))((part, size))
    assert loss == pytest.approx(math.exp(0.5) * 0.3 - 0.5 * 0.2)
    assert slopes[0].log_multiplier == pytest.approx(-0.2)
    assert slopes[1] == pytest.approx(math.exp(0.5))
    assert part.advance(size, 0.1) is part


@pytest.mark.parametrize(("size", "sign"), [(0.11, 1), (5.0, 1), (0.09, -1), (0.0, -1), (0.1, 0)])
def test_dual_rises_if_and_only_if_outside(size, sign):
    """One step of Adam moves log_alpha by its rate, toward the right side."""
    part, adam = dual(), optax.adam(3e-4)
    slope = jax.grad(lambda part: part.loss(jnp.asarray(size), 0.1))(part)
    with jax.numpy_dtype_promotion("standard"):
        step, _ = adam.update(slope, adam.init(part))
    after = eqx.apply_updates(part, step)
    assert after.log_multiplier - 1.0 == pytest.approx(3e-4 * sign, abs=2e-6)


def test_starts_as_the_paper():
    assert DualConstraintConfig().initial_log_multiplier == 1.0
    assert dual().multiplier() == pytest.approx(math.e)


SIZES = (0.3, 0.02, 0.5, 0.5, 0.11)


def after_adam(part, loss_of):
    """The part after one update of Adam for each of SIZES."""
    (moving, rest), adam = eqx.partition(part, trainable(part)), optax.adam(3e-4)
    state = adam.init(moving)
    for size in SIZES:
        slope = jax.grad(lambda moving, size=size: loss_of(eqx.combine(moving, rest), jnp.asarray(size)))(moving)
        with jax.numpy_dtype_promotion("standard"):
            step, state = adam.update(slope, state)
        moving = eqx.apply_updates(moving, step)
    return eqx.combine(moving, rest)


def dual_loss(part, size):
    return part.loss(size, 0.1)


def test_dual_at_another_speed():
    """It starts at the same multiplier, and log alpha moves that many times as far."""
    one, fast = dual(), dual(speed=20.0)
    assert fast.multiplier() == pytest.approx(one.multiplier())
    assert fast.loss(jnp.asarray(0.3), 0.1) == pytest.approx(one.loss(jnp.asarray(0.3), 0.1))
    moved = [math.log(after_adam(part, dual_loss).multiplier()) - 1.0 for part in (one, fast)]
    assert abs(moved[0]) > 2e-4
    assert moved[1] == pytest.approx(20 * moved[0], rel=2e-3)


def test_dual_at_speed_one_is_the_papers_bit_for_bit():
    """alpha * size - log_alpha * (size - bound), and Adam on log_alpha."""

    def papers(log_alpha, size):
        held = jax.lax.stop_gradient(jnp.exp(log_alpha)) * size
        return held - log_alpha * (jax.lax.stop_gradient(size) - 0.1)

    part, log_alpha = dual(0.7), jnp.asarray(0.7)
    assert part.loss(jnp.asarray(0.3), 0.1) == papers(log_alpha, jnp.asarray(0.3))
    moved = after_adam(log_alpha, papers)
    assert moved != log_alpha
    assert after_adam(part, dual_loss).log_multiplier == moved


def test_pid_by_hand():
    """Relative errors 0.5, 4 (clipped to 1), -0.5 and -1, with gains 0.5, 0.25 and 0.125, by hand:
    the integral goes 1.125, 1.375, 1.25, 1, and log alpha adds a half of the error and an eighth of its change."""
    config = PIDConstraintConfig(proportional=0.5, integral=0.25, derivative=0.125)
    part = config.build(example_context(), key=jax.random.key(0))
    assert part.multiplier() == pytest.approx(math.e)
    assert not jax.tree.leaves(eqx.filter(part, trainable(part)))
    for size, log_alpha in ((0.15, 1.4375), (0.5, 1.9375), (0.05, 0.8125), (0.0, 0.4375)):
        part = part.advance(jnp.asarray(size), 0.1)
        assert part.multiplier() == pytest.approx(math.exp(log_alpha), rel=1e-5)
        loss, slope = jax.value_and_grad(part.loss)(jnp.asarray(0.3), 0.1)
        assert loss == pytest.approx(0.3 * math.exp(log_alpha), rel=1e-5)
        assert slope == pytest.approx(math.exp(log_alpha), rel=1e-5)


def test_pid_settles():
    """Where the size answers the multiplier, as size = 1 / alpha does, it ends at the bound, from either side."""
    for start in (-2.0, 6.0):
        part = PIDConstraintConfig(start, integral=0.05).build(example_context(), key=jax.random.key(0))

        def follow(_, state, part=part):
            part = dataclasses.replace(part, state=state)
            return part.advance(1.0 / part.multiplier(), 0.1).state

        state = jax.lax.fori_loop(0, 300, follow, part.state)
        assert dataclasses.replace(part, state=state).multiplier() == pytest.approx(10.0, rel=1e-2)


def test_projection():
    """Displacements are projected, and nothing is added to the loss."""
    part, size = Projection(), jnp.asarray(5.0)
    assert part.restrict(jnp.asarray([0.5, -1.0]), jnp.negative).tolist() == [-0.5, 1.0]
    assert jax.value_and_grad(part.loss)(size, 0.1) == (0, 0)
    assert part.multiplier() == 0
    assert part.advance(size, 0.1) is part
    soft = (Penalty(), NoConstraint(), dual())
    assert all(s.restrict(jnp.asarray([0.5, -1.0]), jnp.negative).tolist() == [0.5, -1.0] for s in soft)


def test_penalty_and_none():
    size = jnp.asarray(0.3)
    assert Penalty(10.0).loss(size, 0.1) == pytest.approx(3.0)
    assert Penalty(10.0).loss(size, math.inf) == pytest.approx(3.0)
    assert Penalty(10.0).multiplier() == 10.0
    assert NoConstraint().loss(size, 0.1) == 0
    assert NoConstraint().multiplier() == 0


def test_refuses():
    with pytest.raises(ValueError, match="penalty: weight must not be negative, got -1"):
        Penalty(-1.0)
    with pytest.raises(ValueError, match="dual: initial_log_multiplier must be finite, got inf"):
        DualConstraintConfig(math.inf)
    with pytest.raises(ValueError, match="dual: speed must be positive, got 0"):
        DualConstraintConfig(speed=0.0)
    with pytest.raises(ValueError, match="pid: initial_log_multiplier must be finite, got nan"):
        PIDConstraintConfig(math.nan)
    for name, value in {"proportional": -0.1, "derivative": -0.1, "integral": 0.0}.items():
        with pytest.raises(ValueError, match=f"pid: {name} must .*, got {value}"):
            PIDConstraintConfig(**{name: value})
    with pytest.raises(ValueError, match="'pid' needs a trust region with a finite bound, got inf"):
        PIDConstraintConfig().build(example_context(), key=jax.random.key(0)).loss(jnp.asarray(0.3), math.inf)
    with pytest.raises(ValueError, match="'dual' needs a trust region with a finite bound, got inf"):
        dual().loss(jnp.asarray(0.3), math.inf)


class Falls(AbstractSoftConstraint):
    """A sound integral; each law is broken below."""

    state: Fixed
    gain: float = 1.0
    slope: float = 1.0

    def loss(self, size, bound):
        return self.slope * self.state.value * size

    def multiplier(self):
        return self.state.value

    def advance(self, size, bound):
        return Falls(Fixed(self.state.value + self.gain * (size - bound)), self.gain, self.slope)


@pytest.mark.parametrize(
    ("values", "law"),
    [({"gain": -1.0}, "the multiplier moves by"), ({"slope": 2.0}, "slope outside"), ({"slope": -1.0}, "falls with")],
)
def test_laws_catch(values, law):
    check_constraint(Falls(Fixed(jnp.ones(()))))
    with pytest.raises(LawError, match=law):
        check_constraint(Falls(Fixed(jnp.ones(())), **values))


class AbstractExample(AbstractSoftConstraint):
    """A constraint whose slope depends on the size."""

    def advance(self, size, bound):
        return self


class Quadratic(AbstractExample):
    weight: float = 10.0
    reported: float = 0.0

    def loss(self, size, bound):
        return self.weight * jnp.square(jax.nn.relu(size - bound))

    def multiplier(self):
        return jnp.asarray(self.reported)


class Barrier(AbstractExample):
    """-m log(bound - size), continued linearly from 0.9 of the bound."""

    weight: float = 0.01

    def loss(self, size, bound):
        edge = 0.9 * bound
        inside = -self.weight * jnp.log(bound - jnp.minimum(size, edge))
        return inside + self.weight / (bound - edge) * jax.nn.relu(size - edge)

    def multiplier(self):
        return jnp.asarray(self.weight / 100)


class Saturates(AbstractExample):
    def loss(self, size, bound):
        return jnp.tanh(size / bound)

    def multiplier(self):
        return jnp.asarray(0.0)


class Augmented(AbstractSoftConstraint):
    """(max(0, m + r (size - bound))^2 - m^2) / 2r, and m becomes max(0, m + r (size - bound))."""

    state: Fixed
    rate: float = 5.0

    def loss(self, size, bound):
        raised = jax.nn.relu(self.state.value + self.rate * (size - bound))
        return (jnp.square(raised) - jnp.square(self.state.value)) / (2 * self.rate)

    def multiplier(self):
        return self.state.value

    def advance(self, size, bound):
        return Augmented(Fixed(jax.nn.relu(self.state.value + self.rate * (size - bound))), self.rate)


@pytest.mark.parametrize("constraint", [Quadratic(), Barrier(), Augmented(Fixed(jnp.ones(())))], ids=repr)
def test_the_slope_may_depend_on_the_size(constraint):
    check_constraint(constraint)
    check_constraint(constraint, bound=3.0)


def test_laws_catch_wrong_slopes():
    with pytest.raises(LawError, match=r"below the multiplier 100\.0"):
        check_constraint(Quadratic(reported=100.0))
    with pytest.raises(LawError, match="the slope must not fall outside the bound"):
        check_constraint(Saturates())
