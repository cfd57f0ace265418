"""A hard constraint: it bounds each displacement, not the batch mean."""

from typing import Self

import jax.numpy as jnp

from ..types import Scalar
from .base import AbstractHardConstraint, register


@register("projection")
class Projection(AbstractHardConstraint):
    """Replaces every displacement by the nearest one inside, in the loss and in acting.

    Nothing is added to the loss, and no multiplier has to settle."""

    def loss(self, size: Scalar, bound: float) -> Scalar:
        return jnp.zeros(())

    def multiplier(self) -> Scalar:
        return jnp.zeros(())

    def advance(self, size: Scalar, bound: float) -> Self:
        return self
