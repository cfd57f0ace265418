"""Changing the observations of a batch before the loss sees them. Acting and evaluating never do.

A complete member:

    @deflow.augmentations.register("noise")
    class Noise(deflow.augmentations.AbstractSampleAugmentation):
        scale: float = 0.01

        def __call__(self, observation, *, key):
            return observation + self.scale * jax.random.normal(key, observation.shape)
"""

import abc
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from ..keys import named_key
from ..registry import Registry
from ..types import AbstractPart, Batch, Observation


class AbstractAugmentation(AbstractPart):
    """Changes the observations of a batch."""

    @abc.abstractmethod
    def of_batch(self, batch: Batch, *, key: Key[Array, ""]) -> Batch:
        """The batch of B transitions with other observations s and s', of the same shape and type."""


class AbstractSampleAugmentation(AbstractAugmentation):
    """Changes each observation by itself, with a share `probability` of all batches; the others stay as they are."""

    probability: float = 1.0
    """How likely a batch is changed, as a whole."""

    def __check_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"{type(self).__name__}: probability must be from 0 to 1, got {self.probability}.")

    @abc.abstractmethod
    def __call__(self, observation: Observation, *, key: Key[Array, ""]) -> Observation:
        """One observation, changed. A transition's s and s' get the same key, so that the same is done to both."""

    def of_batch(self, batch: Batch, *, key: Key[Array, ""]) -> Batch:
        """The batch with changed observations, or as it is."""
        changes = jax.random.uniform(named_key(key, "whether")) < self.probability
        keys = jax.random.split(named_key(key, "samples"), len(batch))

        def changed(observations: Any) -> Any:
            each = jax.vmap(lambda observation, key: self(observation, key=key))(jnp.asarray(observations), keys)
            if (each.shape, each.dtype) != (observations.shape, observations.dtype):
                raise ValueError(
                    f"{type(self).__name__} makes {each.dtype} of shape {each.shape[1:]} of an observation of "
                    f"{observations.dtype} and shape {observations.shape[1:]}: keep its type and shape."
                )
            return jnp.where(changes, each, observations)

        return dataclasses.replace(
            batch, observation=changed(batch.observation), next_observation=changed(batch.next_observation)
        )


class AbstractImageAugmentation(AbstractSampleAugmentation):
    """An augmentation of images of shape (height, width, channels)."""


def check_image(name: str, shape: tuple[int, ...]) -> None:
    """Raises a `ValueError` if observations of this shape are no images."""
    if len(shape) != 3:
        raise ValueError(
            f"The augmentation {name!r} is for images of shape (height, width, channels), got observations of shape "
            f"{shape}: choose 'none'."
        )


registry: Registry[AbstractAugmentation] = Registry("augmentation", "augmentations", (AbstractAugmentation,))
"""The augmentations, by name."""
register = registry.register
"""Class decorator: adds an augmentation under a name, see `deflow.registry.Registry.register`."""
