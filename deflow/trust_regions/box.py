"""A box: the size is the largest coordinate of the displacement."""

import jax.numpy as jnp

from ..types import Action, Observation, Scalar
from .base import AbstractTrustRegion, Bound, check_bound, register


@register("box")
class Box(AbstractTrustRegion):
    """size = max_i |D_i|, in action units. Projecting clips each coordinate."""

    bound: Bound = 0.1
    """Largest displacement of a coordinate, in action units (a coordinate spans 2)."""

    def __check_init__(self) -> None:
        check_bound("box", self.bound)

    def size(self, displacement: Action, observation: Observation) -> Scalar:
        return jnp.max(jnp.abs(displacement))

    def project(self, displacement: Action, observation: Observation) -> Action:
        return jnp.clip(displacement, -self.limit, self.limit)
