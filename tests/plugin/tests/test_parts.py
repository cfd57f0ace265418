"""The laws of their kinds, for the parts that this package brings."""

import jax.numpy as jnp
import pytest
from deflow_extras.adams_bashforth import AdamsBashforth
from deflow_extras.l1_ball import L1Ball

import deflow
from deflow import testing


def test_both_are_found_by_name():
    assert deflow.solvers.registry["adams-bashforth"] is AdamsBashforth
    assert deflow.trust_regions.registry["l1-ball"] is L1Ball
    assert deflow.solvers.registry.distribution("adams-bashforth") == "deflow-extras"


@pytest.mark.parametrize("steps", [1, 2, 10])
def test_solver(steps):
    testing.check_solver(AdamsBashforth(steps=steps))


def test_order_of_the_solver():
    assert testing.measured_order(AdamsBashforth()) == pytest.approx(2, abs=0.15)


def test_one_velocity_per_step():
    times = []
    AdamsBashforth(steps=4)(lambda time, point: times.append(float(time)) or point, jnp.ones(2))
    assert times == [0.0, 0.125, 0.25, 0.5, 0.75]  # and one more in the first step


@pytest.mark.parametrize("bound", [0.05, 1.0])
def test_trust_region(bound):
    testing.check_trust_region(L1Ball(bound=bound))


def test_a_bound_that_is_no_size_is_refused():
    with pytest.raises(ValueError, match="l1-ball: bound must be a positive number or auto, got 0"):
        L1Ball(bound=0.0)
