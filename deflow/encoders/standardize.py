"""Observations in units of the data's own spread."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, Num

from ..types import Context, Features, Fixed, Observation
from .base import AbstractEncoder, AbstractEncoderConfig, check_states, register

_PIECE = 4_000_000  # numbers that are read at once: 32 MB in float64


class Standardize(AbstractEncoder):
    """features = (o - mean) / deviation, per dimension of the dataset's observations, flattened.

    A dimension whose deviation is at most 2^-23 of its largest magnitude counts as constant, since float32 rounds such
    changes away. Its feature is 0, also where an environment shows another value later.

    The observation and the mean are rounded to float32 before they are subtracted, so a feature is off by up to
    2^-23 |o| / deviation. This matters only for a large offset: with values of 1e6 +- 1, by about 0.1.
    """

    mean: Fixed
    """Mean of the observations, shape (O,)."""

    inverse_scale: Fixed
    """1 / standard deviation of the observations, and 0 where they are constant, shape (O,)."""

    def __call__(self, observation: Observation) -> Features:
        return (jnp.ravel(observation).astype(jnp.float32) - self.mean.value) * self.inverse_scale.value


@register("standardize")
class StandardizeConfig(AbstractEncoderConfig):
    """Mean 0 and deviation 1 over the dataset, per dimension; fixed when the agent is built."""

    def build(self, context: Context, *, key: Key[Array, ""]) -> Standardize:
        """The encoder, fitted to the data.

        Raises:
            ValueError: For pixels, and without data.
        """
        check_states("standardize", context.spec.observation_shape)
        mean, deviation, largest = _statistics(context.dataset("encoder").observation)
        varies = deviation > np.maximum(2.0**-23 * largest, np.finfo(np.float32).tiny)
        inverse_scale = np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)
        return Standardize(*(Fixed(jnp.asarray(array, jnp.float32)) for array in (mean, inverse_scale)))


def _statistics(observations: Num[Array | np.ndarray, "..."]) -> tuple[Float[np.ndarray, " observation"], ...]:
    """Mean, standard deviation (divided by N) and largest magnitude per dimension, in float64.

    The observations are read once, in pieces, of which the moments are combined (Chan, Golub and LeVeque, 1983): they
    may lie in a file that is larger than the memory.
    """
    size = int(np.prod(observations.shape[1:]))
    count, mean, squares, largest = 0, np.zeros(size), np.zeros(size), np.zeros(size)
    rows = max(_PIECE // size, 1)
    for start in range(0, len(observations), rows):
        piece = np.asarray(observations[start : start + rows]).reshape(-1, size).astype(np.float64)
        centre, total = piece.mean(0), count + len(piece)
        shift = centre - mean
        squares += np.square(piece - centre).sum(0) + np.square(shift) * (count * len(piece) / total)
        mean += shift * (len(piece) / total)
        largest = np.maximum(largest, np.abs(piece).max(0))
        count = total
    return mean, np.sqrt(squares / count), largest
