"""No constraint: the refiner goes where the value leads."""

from typing import Self

import jax.numpy as jnp

from ..types import Scalar
from .base import AbstractSoftConstraint, register


@register("none")
class NoConstraint(AbstractSoftConstraint):
    """Adds nothing to the loss."""

    def loss(self, size: Scalar, bound: float) -> Scalar:
        return jnp.zeros(())

    def multiplier(self) -> Scalar:
        return jnp.zeros(())

    def advance(self, size: Scalar, bound: float) -> Self:
        return self
