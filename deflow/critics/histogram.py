"""Numbers as histograms: HL-Gauss, a Gaussian cut into bins (Farebrother et al. 2024, arXiv 2403.03950, section 3.1),
and the range of returns that the bins cover."""

import math

import jax
import jax.numpy as jnp
import jax.scipy.stats
import numpy as np
from jaxtyping import Array, Float

from ..types import Context, Fixed, Scalar

_FARTHEST = 4.0  # deviations outside the range


def histogram(number: Scalar, edges: Float[Array, " edges"], deviation: Scalar) -> Float[Array, " bins"]:
    """Probabilities of the bins between the edges: those of N(number, deviation^2), divided by their sum.

    A number more than four deviations outside counts as four: farther out float32 leaves no mass in any bin.
    """
    number = jnp.clip(number, edges[0] - _FARTHEST * deviation, edges[-1] + _FARTHEST * deviation)
    mass = jnp.diff(jax.scipy.stats.norm.cdf((edges - number) / deviation))
    return mass / jnp.sum(mass)


def reward_range(context: Context, lowest: float, highest: float) -> Fixed:
    """The array [lowest, highest] of rewards, widened by those of the data that lie outside."""
    if context.data is not None:
        rewards = np.asarray(context.data.reward)
        lowest, highest = min(lowest, float(rewards.min())), max(highest, float(rewards.max()))
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
