"""State vectors need no encoder."""

import jax.numpy as jnp

from ..types import Features, Observation
from .base import AbstractEncoder, check_states, register


@register("identity")
class Identity(AbstractEncoder):
    """The observation, flattened into a float32 vector."""

    def __call__(self, observation: Observation) -> Features:
        check_states("identity", observation.shape)
        return jnp.ravel(observation).astype(jnp.float32)
