"""Combining the values of several members into one number."""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..types import Scalar

Aggregation = Literal["mean", "min", "mean-std"]
"""`mean`, `min`, or `mean-std`: the mean minus a number of standard deviations (population, ddof 0)."""


def aggregate(values: Float[Array, " members"], aggregation: Aggregation, deviations: float) -> Scalar:
    """One number from the members' values of one action."""
    if aggregation == "mean":
        return jnp.mean(values)
    if aggregation == "min":
        return jnp.min(values)
    # A variance of exactly zero would make the gradient of its root infinite.
    variance = jnp.var(values)
    positive = variance > 0
    return jnp.mean(values) - deviations * jnp.where(positive, jnp.sqrt(jnp.where(positive, variance, 1.0)), 0.0)


def check_aggregation(part: str, aggregation: str, deviations: float) -> None:
    """Raises a `ValueError` for an unknown aggregation or a negative number of deviations."""
    if aggregation not in ("mean", "min", "mean-std"):
        raise ValueError(f"{part}: aggregation must be mean, min or mean-std, got {aggregation!r}.")
    if not deviations >= 0:
        raise ValueError(f"{part}: deviations must not be negative, got {deviations}.")
