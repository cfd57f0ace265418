"""State vectors need no encoder."""

import jax.numpy as jnp

from ..types import Features, Observation
from .base import AbstractEncoder, register


@register("identity")
class Identity(AbstractEncoder):
    """The observation, flattened into a float32 vector."""

    def __call__(self, observation: Observation) -> Features:
        if observation.ndim == 3:
            raise ValueError(
                f"The encoder 'identity' is for states, got pixels of shape {observation.shape}: choose or register "
                "an encoder for images, or a task without 'visual' in its name."
            )
        return jnp.ravel(observation).astype(jnp.float32)
