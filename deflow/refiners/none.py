"""No refiner: proposals are executed unchanged."""

import jax.numpy as jnp

from ..types import Action, Observation
from .base import AbstractStillRefiner, Inquiry, register


@register("none")
class NoRefiner(AbstractStillRefiner):
    """No displacement: proposals are executed unchanged."""

    def __call__(self, observation: Observation, noise: Action, proposal: Action, inquiry: Inquiry) -> Action:
        return jnp.zeros_like(proposal)
