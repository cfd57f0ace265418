"""Refinement without a network: steps along the value's gradient."""

import jax
import jax.numpy as jnp

from ..types import Action, Observation
from .base import AbstractRefiner, Inquiry, register


@register("value-gradient")
class ValueGradient(AbstractRefiner):
    """D <- project(D + rate * g / |g|), where g is the gradient of the value at proposal + D; repeated from D = 0.

    Every step has length `rate`, whatever the scale of the value, and ends inside the trust region, so the bound holds
    for each action with any constraint. Nothing is learned.
    """

    steps: int = 5
    """Number of steps."""

    rate: float = 0.02
    """Length of a step, in action units (Euclidean)."""

    def __check_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"refiner value-gradient: steps must be at least 1, got {self.steps}.")
        if not self.rate > 0:
            raise ValueError(f"refiner value-gradient: rate must be positive, got {self.rate}.")

    def __call__(self, observation: Observation, noise: Action, proposal: Action, inquiry: Inquiry) -> Action:
        displacement = jnp.zeros_like(proposal)
        for _ in range(self.steps):
            direction = _unit(jax.grad(inquiry.value)(proposal + displacement))
            displacement = inquiry.project(displacement + self.rate * direction)
        return displacement


def _unit(vector: Action) -> Action:
    """The vector scaled to length 1, or 0 if it is 0."""
    square = jnp.sum(jnp.square(vector))
    return jnp.where(square > 0, vector / jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)
