"""No refiner: proposals are executed as they are."""

import jax.numpy as jnp

from ..types import Action, Observation
from .base import AbstractRefiner, Inquiry, register


@register("none")
class NoRefiner(AbstractRefiner):
    """No displacement: the behaviour flow acts."""

    def __call__(self, observation: Observation, noise: Action, proposal: Action, inquiry: Inquiry) -> Action:
        return jnp.zeros_like(proposal)
