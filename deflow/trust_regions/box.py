"""A box: the largest move of a coordinate."""

import jax.numpy as jnp

from ..types import Action, Observation, Scalar
from .base import AbstractTrustRegion, Bound, check_bound, register


@register("box")
class Box(AbstractTrustRegion):
    """size = max_i |D_i|, in action units: coordinates are held one by one. Projecting clips them."""

    bound: Bound = 0.1
    """Largest move of a coordinate, in action units (a coordinate spans 2)."""

    def __check_init__(self) -> None:
        check_bound("box", self.bound)

    def size(self, displacement: Action, observation: Observation) -> Scalar:
        return jnp.max(jnp.abs(displacement))

    def project(self, displacement: Action, observation: Observation) -> Action:
        return jnp.clip(displacement, -self.limit, self.limit)
