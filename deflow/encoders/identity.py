"""State vectors need no encoder."""

import jax.numpy as jnp

from ..types import Features, Observation
from .base import AbstractEncoder, register


@register("identity")
class Identity(AbstractEncoder):
    """The observation itself, as one float32 vector."""

    def __call__(self, observation: Observation) -> Features:
        return jnp.ravel(observation).astype(jnp.float32)
