"""A ball: the size is the length of the displacement."""

import jax.numpy as jnp

from ..types import Action, Observation, Scalar
from .base import AbstractTrustRegion, Bound, check_bound, register
from .geometry import root


@register("ball")
class Ball(AbstractTrustRegion):
    """size = sqrt(sum_i D_i^2), in action units. Projecting shortens the displacement."""

    bound: Bound = 0.1
    """Largest length, in action units (an action coordinate spans 2)."""

    def __check_init__(self) -> None:
        check_bound("ball", self.bound)

    def size(self, displacement: Action, observation: Observation) -> Scalar:
        return root(jnp.sum(jnp.square(displacement)))

    def project(self, displacement: Action, observation: Observation) -> Action:
        size = self.size(displacement, observation)
        outside = size > self.limit
        return displacement * jnp.where(outside, self.limit / jnp.where(outside, size, 1.0), 1.0)
