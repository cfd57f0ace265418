"""Images moved by a few pixels (arXiv 2004.13649): what is learned should not depend on where exactly a thing is."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from ..types import Observation
from .base import AbstractImageAugmentation, check_image, register


@register("random-crop")
class RandomCrop(AbstractImageAugmentation):
    """The image grows by `padding` pixels on every side, copies of its edge, and is cut to its size at a random place.

    All channels, and so all stacked frames, are cut at the same place, and s' at that of s.
    """

    padding: int = 3
    """Pixels by which an image is moved at most, in either direction."""

    probability: float = 0.5
    """How likely a batch is changed, as a whole."""

    def __check_init__(self) -> None:
        super().__check_init__()
        if self.padding < 1:
            raise ValueError(f"augmentation random-crop: padding must be at least 1 pixel, got {self.padding}.")

    def __call__(self, observation: Observation, *, key: Key[Array, ""]) -> Observation:
        check_image("random-crop", observation.shape)
        edges = [(self.padding, self.padding)] * 2 + [(0, 0)]
        rows, columns = jax.random.randint(key, (2,), 0, 2 * self.padding + 1)
        padded = jnp.pad(jnp.asarray(observation), edges, mode="edge")
        return jax.lax.dynamic_slice(padded, (rows, columns, jnp.zeros_like(rows)), observation.shape)
