"""Trust regions: the laws, for every member, at several bounds."""

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
import pytest
from small import cases

from deflow.testing import LawError, check_trust_region
from deflow.trust_regions import AbstractTrustRegion, MeanSquare, NoTrustRegion

O = jnp.zeros(3)  # noqa: E741


@pytest.mark.parametrize("region", **cases("trust_region"))
@pytest.mark.parametrize("action_size", [1, 4])
def test_laws(region, action_size):
    check_trust_region(region, action_size=action_size)


@pytest.mark.parametrize("bound", [1e-4, 0.3])
def test_laws_at_other_bounds(bound):
    check_trust_region(MeanSquare(bound=bound))


def test_mean_square_by_hand():
    """(0.3^2 + 0.1^2) / 2 = 0.05; half that bound shrinks by the root of a half."""
    move = jnp.asarray([0.3, -0.1])
    region = MeanSquare(bound=0.025)
    assert region.size(move, O) == pytest.approx(0.05)
    np.testing.assert_allclose(region.project(move, O), np.asarray(move) * math.sqrt(0.5), rtol=1e-6)
    np.testing.assert_array_equal(MeanSquare(bound=0.06).project(move, O), move)


def test_none():
    region, move = NoTrustRegion(), jnp.asarray([100.0, -3.0])
    assert region.bound == math.inf
    assert region.size(move, O) == 0
    np.testing.assert_array_equal(region.project(move, O), move)


@pytest.mark.parametrize("bound", [0.0, -0.1, math.nan])
def test_refuses_bounds(bound):
    with pytest.raises(ValueError, match="trust region mean-square: bound must be a positive number or auto"):
        MeanSquare(bound=bound)


class Ball(AbstractTrustRegion):
    """Sound; each law is broken in turn below."""

    bound: float = 0.5
    offset: float = 0.0
    too_far: float = 1.0
    naive: bool = False
    box: bool = False
    shrink: float = 1.0

    def size(self, displacement, observation):
        square = jnp.sum(jnp.square(displacement))
        if self.naive:
            return jnp.sqrt(square)
        return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0) + self.offset

    def project(self, displacement, observation):
        if self.box:  # inside, and not the nearest
            side = self.bound / math.sqrt(displacement.size)
            inside = self.size(displacement, observation) <= self.bound
            return jnp.where(inside, displacement, jnp.clip(displacement, -side, side))
        size = self.size(displacement, observation)
        return (
            displacement
            * jnp.where(size > self.bound, self.too_far * self.bound / jnp.maximum(size, 1e-9), 1.0)
            * (self.shrink)
        )


def test_sound_ball():
    check_trust_region(Ball())


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        ({"offset": 0.1}, "size of no displacement must be 0"),
        ({"too_far": 1.1}, "a projection has size"),
        ({"naive": True}, "gradient of the size must be finite"),
        ({"box": True}, "nearer to"),
        ({"shrink": 0.9}, "the projection of what is inside"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_laws_catch(broken, law):
    with pytest.raises(LawError, match=law):
        check_trust_region(dataclasses.replace(Ball(), **broken))
