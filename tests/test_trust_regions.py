"""Trust regions: the laws, for every member, at several bounds."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import cases

from deflow.errors import LawError
from deflow.testing import check_trust_region, example_context, example_data
from deflow.trust_regions import AbstractTrustRegion, Box, EllipsoidConfig, MeanSquare, NoTrustRegion, PerStateConfig
from deflow.trust_regions import Ball as RoundBall
from deflow.trust_regions.geometry import nearest_inside, relative_size
from deflow.trust_regions.prototypes import SMALLEST_DEVIATION
from deflow.types import Batch, Spec

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


def test_ball_by_hand():
    """sqrt(0.3^2 + 0.4^2) = 0.5."""
    move = jnp.asarray([0.3, -0.4])
    assert RoundBall().size(move, O) == pytest.approx(0.5)
    np.testing.assert_allclose(RoundBall(bound=0.25).project(move, O), [0.15, -0.2], rtol=1e-6)


def test_box_by_hand():
    move = jnp.asarray([0.3, -0.4, 0.1])
    assert Box().size(move, O) == pytest.approx(0.4)
    np.testing.assert_allclose(Box(bound=0.25).project(move, O), [0.25, -0.25, 0.1], rtol=1e-6)


BOUNDED = {"mean-square": MeanSquare, "ball": RoundBall, "box": Box, "ellipsoid": EllipsoidConfig}
BOUNDED["per-state"] = PerStateConfig


@pytest.mark.parametrize("name", BOUNDED)
@pytest.mark.parametrize("bound", [0.0, -0.1, math.nan, math.inf])
def test_refuses_bounds(name, bound):
    with pytest.raises(ValueError, match=f"trust region {name}: bound must be a positive number or auto, got {bound}"):
        BOUNDED[name](bound=bound)


@pytest.mark.parametrize("config", [EllipsoidConfig, PerStateConfig])
def test_refuses_no_prototypes(config):
    with pytest.raises(ValueError, match="prototypes must be at least 1, got 0"):
        config(prototypes=0)


@pytest.mark.parametrize("name", BOUNDED)
def test_auto_is_no_number_yet(name):
    region = BOUNDED[name](bound="auto")
    if hasattr(region, "build"):
        region = region.build(example_context(data=example_data()), key=jax.random.key(0))
    with pytest.raises(ValueError, match="the data: give a number, or compose with deflow"):
        region.project(jnp.ones(2), O)


# --- ellipsoids


@pytest.mark.parametrize("limit", [1e-3, 0.3])
def test_nearest_point_of_an_ellipsoid(limit):
    """The multiplier by bisection, in float64; standard deviations from 0.001 to 1, moves from 0.001 to 10."""
    random = np.random.default_rng(0)
    points = random.standard_normal((200, 4)) * 10 ** random.uniform(-3, 1, (200, 1))
    variances = 10 ** random.uniform(-6, 0, (200, 4))
    low, high = np.zeros((200, 1)), np.full((200, 1), 1e9)
    for _ in range(200):
        middle = np.where(low < 1e-12, 0.5 * high, np.sqrt(low * high)) if _ % 2 else 0.5 * (low + high)
        shrunk = points * variances / (variances + middle)
        outside = np.sqrt(np.mean(shrunk**2 / variances, axis=1, keepdims=True)) > limit
        low, high = np.where(outside, middle, low), np.where(outside, high, middle)
    inside = np.sqrt(np.mean(points**2 / variances, axis=1, keepdims=True)) <= limit
    expected = np.where(inside, points, points * variances / (variances + high))
    points, variances = jnp.asarray(points, jnp.float32), jnp.asarray(variances, jnp.float32)
    found = jax.jit(jax.vmap(lambda *row: nearest_inside(*row, limit)))(points, variances)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_the_gradient_of_the_nearest_point_is_that_of_finite_differences():
    point, variances = np.asarray([0.5, -0.2, 0.05]), np.asarray([0.04, 0.01, 0.09])
    with jax.enable_x64(True):
        project = jax.jit(lambda point: nearest_inside(point, jnp.asarray(variances), 0.3))
        steps = 1e-6 * np.eye(3)
        expected = np.stack([(project(point + step) - project(point - step)) / 2e-6 for step in steps], axis=1)
        np.testing.assert_allclose(jax.jacobian(project)(jnp.asarray(point)), expected, atol=1e-6)
        assert relative_size(project(point), jnp.asarray(variances)) == pytest.approx(0.3)


def clustered(rows=400, seed=0):
    """Rows around the states (-5, 0, 1) and (5, 0, 1); actions spread along one diagonal, and along the other."""
    random = np.random.default_rng(seed)
    side = random.permutation(np.repeat([-1.0, 1.0], rows // 2))
    states = np.stack([5 * side, 0.1 * random.standard_normal(rows), np.ones(rows)], axis=1)
    along, across = 0.3 * random.standard_normal(rows), 0.05 * random.standard_normal(rows)
    actions = np.stack([along + across, side * (along - across)], axis=1)
    observation, action = states.astype(np.float32), actions.astype(np.float32)
    row = np.ones(rows, np.float32)
    return side, Batch(observation, action, row, row, observation)


def built(config, data):
    return config.build(example_context(Spec((3,), 2), data=data), key=jax.random.key(0))


@pytest.mark.parametrize("config", [EllipsoidConfig(prototypes=2), PerStateConfig(prototypes=2)])
def test_each_state_has_the_spread_of_its_own_actions(config):
    side, data = clustered()
    region, move = built(config, data), np.asarray([0.2, 0.1])
    for which in (-1, 1):
        own = np.cov(data.action[side == which].T, bias=True)
        covariance = (200 * own + 10 * np.cov(data.action.T, bias=True)) / 210
        if isinstance(config, PerStateConfig):
            covariance = np.diag(np.diag(covariance))
        expected = math.sqrt(move @ np.linalg.inv(covariance) @ move / 2)
        observation = jnp.asarray([4.0 * which, 0.05, 1.0])
        assert region.size(jnp.asarray(move, jnp.float32), observation) == pytest.approx(expected, rel=1e-3)


def test_a_direction_without_spread_has_a_floor():
    _, data = clustered()
    still = dataclasses.replace(data, action=data.action * np.float32([1.0, 0.0]))
    for config in (EllipsoidConfig(), PerStateConfig()):
        region = built(config, still)
        size = region.size(jnp.asarray([0.0, 0.01]), jnp.asarray(data.observation[0]))
        assert size == pytest.approx(0.01 / SMALLEST_DEVIATION / math.sqrt(2), rel=1e-3)


@pytest.mark.parametrize("rows", [2, 10])
def test_fewer_rows_than_prototypes(rows):
    _, data = clustered(rows)
    region = built(EllipsoidConfig(), data[np.arange(rows) % 2])  # two different ones
    assert region.variances.value.shape == (64, 2)
    assert region.prototypes.states.value.shape == (64, 3)
    assert len(np.unique(region.prototypes.states.value, axis=0)) <= 2
    assert jnp.isfinite(region.size(jnp.ones(2), O))


def test_prototypes_of_pixels():
    check_trust_region(PerStateConfig(prototypes=3), spec=Spec((4, 4, 3), 2, "uint8"))


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
        ({"naive": True}, r"the size at the displacement 0 must be finite, got .*deflow.trust_regions.root"),
        ({"box": True}, "nearer to"),
        ({"shrink": 0.9}, "the projection of what is inside"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_laws_catch(broken, law):
    with pytest.raises(LawError, match=law):
        check_trust_region(dataclasses.replace(Ball(), **broken))
