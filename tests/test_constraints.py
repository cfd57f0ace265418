"""Constraints: the laws, and the multiplier's sign and speed by hand."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest
from small import cases

from deflow.constraints import AbstractSoftConstraint, DualConstraint, DualConstraintConfig, NoConstraint, Penalty
from deflow.testing import LawError, check_constraint, example_context
from deflow.types import Fixed


@pytest.mark.parametrize("constraint", **cases("constraint"))
def test_laws(constraint):
    check_constraint(constraint)
    check_constraint(constraint, bound=3.0)


def dual(log_multiplier=1.0) -> DualConstraint:
    return DualConstraintConfig(log_multiplier).build(example_context(), key=jax.random.key(0))


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
