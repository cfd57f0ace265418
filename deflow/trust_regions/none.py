"""No trust region: every displacement is inside."""

import math

import jax.numpy as jnp

from ..types import Action, Observation, Scalar
from .base import AbstractTrustRegion, register


@register("none")
class NoTrustRegion(AbstractTrustRegion):
    """Every displacement has size 0 and is inside."""

    @property
    def bound(self) -> float:
        """Infinite: nothing is outside."""
        return math.inf

    def size(self, displacement: Action, observation: Observation) -> Scalar:
        return jnp.zeros(())

    def project(self, displacement: Action, observation: Observation) -> Action:
        return displacement
