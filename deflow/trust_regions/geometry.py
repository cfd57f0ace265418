"""Lengths with finite gradients, and the nearest point of an ellipsoid."""

import jax
import jax.numpy as jnp

from ..types import Action, Scalar

_NEWTON_STEPS = 12  # from float32's smallest to its largest displacement, with variances from 1e-6 to 1


def root(square: Scalar) -> Scalar:
    """sqrt(square), with the gradient 0 at 0."""
    positive = square > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, square, 1.0)), 0.0)


def relative_size(point: Action, variances: Action) -> Scalar:
    """sqrt(mean_i x_i^2 / v_i): the root mean square of a point in standard deviations."""
    return root(jnp.mean(jnp.square(point) / variances))


def nearest_inside(point: Action, variances: Action, limit: float) -> Action:
    """The nearest point whose `relative_size` is at most `limit`.

    Outside, y_i = x_i v_i / (v_i + m) with the multiplier m > 0 that solves relative_size(y) = limit. Newton's steps
    on 1 / limit - 1 / relative_size(y(m)), which is nearly linear in m and concave, climb to it from m = 0 without
    overshooting (Nocedal and Wright, Numerical Optimization, algorithm 4.3). No gradient enters them: one step more,
    at the solution, has the gradient of the solution itself (the implicit function theorem).
    """
    outside = relative_size(point, variances) > limit
    inner = jnp.where(outside, point, 1.0)  # finite gradients where the point is returned as it is, at 0 too

    def newton(multiplier: Scalar, point: Action) -> Scalar:
        square = jnp.square(_shrunk(point, variances, multiplier)) / variances
        size = jnp.sqrt(jnp.mean(square))
        return multiplier + jnp.square(size) * (size / limit - 1.0) / jnp.mean(square / (variances + multiplier))

    held = jax.lax.stop_gradient(inner)
    multiplier = jax.lax.fori_loop(0, _NEWTON_STEPS, lambda _, m: newton(m, held), jnp.zeros_like(variances[0]))
    multiplier = jnp.maximum(newton(jax.lax.stop_gradient(jnp.maximum(multiplier, 0.0)), inner), 0.0)
    nearest = _shrunk(inner, variances, multiplier)
    rounding = jnp.minimum(limit / jnp.sqrt(jnp.mean(jnp.square(nearest) / variances)), 1.0)
    return jnp.where(outside, nearest * jax.lax.stop_gradient(rounding), point)


def _shrunk(point: Action, variances: Action, multiplier: Scalar) -> Action:
    return point * (variances / (variances + multiplier))
