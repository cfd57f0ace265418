"""Numbers as histograms: HL-Gauss, a Gaussian cut into bins (Farebrother et al. 2024, arXiv 2403.03950, section 3.1),
and the range of returns that the bins cover."""

import math

import jax
import jax.numpy as jnp
import jax.scipy.stats
from jaxtyping import Array, Float

from ..types import Context, Fixed, Scalar

_SMALLEST_MASS = 1e-12  # a number far outside the range leaves no mass in any bin


def histogram(number: Scalar, edges: Float[Array, " edges"], deviation: Scalar) -> Float[Array, " bins"]:
    """Probabilities of the bins between the edges: those of N(number, deviation^2), divided by their sum."""
    mass = jnp.diff(jax.scipy.stats.norm.cdf((edges - number) / deviation))
    return mass / jnp.maximum(jnp.sum(mass), _SMALLEST_MASS)


def reward_range(context: Context, lowest: float, highest: float) -> Fixed:
    """The array [lowest, highest] of rewards, widened by those of the data that lie outside."""
    if context.data is not None:
        lowest = min(lowest, float(context.data.reward.min()))
        highest = max(highest, float(context.data.reward.max()))
    return Fixed(jnp.asarray([lowest, highest], jnp.float32))


def return_range(rewards: Fixed, discount: float) -> Float[Array, "2"]:
    """[r_min, r_max] / (1 - discount): the returns that such rewards can add up to."""
    return jax.lax.stop_gradient(rewards.value) / (1.0 - discount)


def check_range(part: str, lowest: float, highest: float) -> None:
    """Refuses a range of rewards that holds nothing."""
    if not (math.isfinite(lowest) and math.isfinite(highest) and lowest < highest):
        raise ValueError(f"{part}: reward_min must be below reward_max, got {lowest} and {highest}.")


def check_discount(part: str, discount: float) -> None:
    """Refuses a discount that bounds no return."""
    if not discount < 1:
        raise ValueError(f"{part}: returns have a range only if discount is below 1, got {discount}.")
