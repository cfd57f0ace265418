"""Numbers as histograms: HL-Gauss, a Gaussian cut into bins (Farebrother et al. 2024, arXiv 2403.03950)."""

import jax.numpy as jnp
import jax.scipy.stats
from jaxtyping import Array, Float

from ..types import Scalar

_FARTHEST = 4.0  # deviations outside the range


def histogram(number: Scalar, edges: Float[Array, " edges"], deviation: Scalar) -> Float[Array, " bins"]:
    """Probabilities of the bins between the edges: those of N(number, deviation^2), divided by their sum.

    A number more than four deviations outside is treated as four, since float32 leaves no mass in any bin beyond that.
    """
    number = jnp.clip(number, edges[0] - _FARTHEST * deviation, edges[-1] + _FARTHEST * deviation)
    mass = jnp.diff(jax.scipy.stats.norm.cdf((edges - number) / deviation))
    return mass / jnp.sum(mass)
