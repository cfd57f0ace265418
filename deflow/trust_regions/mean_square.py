"""The paper's trust region (arXiv 2601.10471): the mean squared displacement per action dimension."""

from collections.abc import Mapping
from typing import ClassVar

import jax.numpy as jnp

from ..types import Action, Observation, Scalar
from .base import AbstractTrustRegion, Bound, check_bound, register


@register("mean-square")
class MeanSquare(AbstractTrustRegion):
    """size = mean_i D_i^2, in squared action units per dimension: the paper's delta bounds its batch mean."""

    task_settings: ClassVar[Mapping[str, str]] = {"bound": "bound"}

    bound: Bound = 0.001
    """Largest mean square: 0.001 is a root mean square of 0.032 per dimension, 0.01 one of 0.10."""

    def __check_init__(self) -> None:
        check_bound("mean-square", self.bound)

    def size(self, displacement: Action, observation: Observation) -> Scalar:
        return jnp.mean(jnp.square(displacement))

    def project(self, displacement: Action, observation: Observation) -> Action:
        size = self.size(displacement, observation)
        outside = size > self.limit
        return displacement * jnp.where(outside, jnp.sqrt(self.limit / jnp.where(outside, size, 1.0)), 1.0)
