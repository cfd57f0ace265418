"""No critic: values are neither known nor learned."""

from typing import Self

import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..types import Action, Batch, Observation, Scalar
from .base import AbstractCritic, register


@register("none")
class NoCritic(AbstractCritic):
    """Has no value. Parts that need one are refused when the agent is composed."""

    @property
    def next_actions(self) -> int:
        """None: there is no target."""
        return 0

    def value(self, observation: Observation, action: Action) -> Scalar:
        raise ValueError(
            "The critic 'none' has no value for a refiner to climb or for candidates to be ranked by: "
            "choose a critic (such as 'ensemble'), or the refiner 'none' with one candidate."
        )

    def score(self, observation: Observation, action: Action) -> Scalar:
        return self.value(observation, action)

    def loss(
        self, transition: Batch, next_actions: Float[Array, "next_actions action"], *, key: Key[Array, ""]
    ) -> tuple[Scalar, dict[str, Scalar]]:
        return jnp.zeros(()), {}

    def advance(self) -> Self:
        return self
