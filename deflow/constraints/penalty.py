"""A fixed multiplier, as in FQL and the behaviour-regularised methods before it (arXiv 2502.02538)."""

from typing import Self

import jax.numpy as jnp

from ..types import Scalar
from .base import AbstractSoftConstraint, register


@register("penalty")
class Penalty(AbstractSoftConstraint):
    """loss = weight * size: the bound is ignored."""

    weight: float = 1.0
    """The fixed multiplier (FQL's alpha)."""

    def __check_init__(self) -> None:
        if not self.weight >= 0:
            raise ValueError(f"constraint penalty: weight must not be negative, got {self.weight}.")

    def loss(self, size: Scalar, bound: float) -> Scalar:
        return self.weight * size

    def multiplier(self) -> Scalar:
        return jnp.asarray(self.weight)

    def advance(self, size: Scalar, bound: float) -> Self:
        return self
