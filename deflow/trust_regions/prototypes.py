"""Prototypes: a few representative states of the data, and the spread of the actions around each of them."""

import warnings

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..types import Context, Fixed, Observation

SMALLEST_DEVIATION = 1e-3
"""Minimum of every standard deviation, in action units, so that directions without variation stay possible."""

PRIOR_ROWS = 10
"""Weight, in rows, of the covariance of all actions in that of a prototype."""

_FITTED_ROWS, _FITTED_ENTRIES = 50_000, 100_000_000  # rows that k-means sees, and numbers in them (pixels: 400 MB)
_CHUNK_ENTRIES = 16_000_000  # numbers that are standardised at once: 64 MB


class Prototypes(eqx.Module):
    """States of the data, standardised per dimension; pixels are flattened."""

    mean: Fixed
    """Mean of the observations, shape (O,)."""

    inverse_scale: Fixed
    """1 / standard deviation of the observations, and 0 where they never change, shape (O,)."""

    states: Fixed
    """The prototypes, standardised, shape (P, O). Data with fewer different states repeats them."""

    def nearest(self, observation: Observation) -> Int[Array, ""]:
        """Index of the prototype nearest to an observation (Euclidean, standardised)."""
        flat = observation.reshape(-1).astype(jnp.float32)
        standard = (flat - self.mean.value) * self.inverse_scale.value
        return jnp.argmin(jnp.sum(jnp.square(self.states.value - standard[None]), axis=1))


def local_covariances(context: Context, count: int) -> tuple[Prototypes, Float[np.ndarray, "prototypes action action"]]:
    """`count` prototypes by k-means, and the covariance of the actions of the rows nearest to each.

    With n rows of covariance S near a prototype, and S_all that of all rows, the covariance is
    (n S + 10 S_all) / (n + 10), which shrinks small groups toward S_all.

    k-means++ with a fixed seed on up to 50,000 evenly spaced rows; then every row belongs to its nearest prototype.

    Raises:
        ValueError: Without data.
    """
    data = context.dataset("trust region")
    observations = np.asarray(data.observation).reshape(len(data), -1)
    actions = np.asarray(data.action, np.float64)

    rows = min(len(observations), _FITTED_ROWS, max(_FITTED_ENTRIES // context.spec.observation_size, count))
    sample = observations[np.linspace(0, len(observations) - 1, rows).astype(int)]
    mean = sample.mean(0, dtype=np.float64).astype(np.float32)
    deviation = sample.std(0, dtype=np.float64)
    changes = sample.max(0) > sample.min(0)
    inverse_scale = np.where(changes, 1.0 / np.where(changes, deviation, 1.0), 0.0).astype(np.float32)
    states = _k_means((sample.astype(np.float32) - mean) * inverse_scale, count)
    nearest = _assign(observations, mean, inverse_scale, states)

    ends = np.cumsum(np.bincount(nearest, minlength=count))
    groups = np.split(actions[np.argsort(nearest, kind="stable")], ends[:-1])
    overall = _covariance(actions)
    covariances = np.stack([(len(g) * _covariance(g) + PRIOR_ROWS * overall) / (len(g) + PRIOR_ROWS) for g in groups])
    repeated = np.arange(count) % len(states)
    return _prototypes(mean, inverse_scale, states[repeated]), covariances[repeated]


def check_prototypes(region: str, prototypes: int) -> None:
    """Raises a `ValueError` for a number of prototypes below 1."""
    if prototypes < 1:
        raise ValueError(f"trust region {region}: prototypes must be at least 1, got {prototypes}.")


def _prototypes(mean: np.ndarray, inverse_scale: np.ndarray, states: np.ndarray) -> Prototypes:
    return Prototypes(*(Fixed(jnp.asarray(array)) for array in (mean, inverse_scale, states)))


def _k_means(sample: np.ndarray, count: int) -> np.ndarray:
    """At most `count` centres, and no more than there are different rows."""
    from scipy.cluster.vq import kmeans2  # takes a second to import, and only these regions need it

    count = min(count, len(np.unique(sample, axis=0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an empty group has the covariance of all actions
        centres, _ = kmeans2(sample, count, iter=20, minit="++", rng=0, check_finite=False)
    return centres.astype(np.float32)


def _assign(observations: np.ndarray, mean: np.ndarray, inverse_scale: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Index of each row's nearest state."""
    from scipy.cluster.vq import vq

    size = max(_CHUNK_ENTRIES // len(mean), 1)
    chunks = (observations[start : start + size].astype(np.float32) for start in range(0, len(observations), size))
    return np.concatenate([vq((chunk - mean) * inverse_scale, states, check_finite=False)[0] for chunk in chunks])


def _covariance(actions: np.ndarray) -> np.ndarray:
    """Covariance over n rows (divided by n); zero for none."""
    if not len(actions):
        return np.zeros((actions.shape[1],) * 2)
    centred = actions - actions.mean(0)
    return centred.T @ centred / len(actions)
