"""The paper's constraint: a Lagrange multiplier trained by gradient descent (arXiv 2601.10471, section 4)."""

import math
from typing import Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..types import Context, Scalar
from .base import AbstractConstraintConfig, AbstractSoftConstraint, check_bounded, register


class DualConstraint(AbstractSoftConstraint):
    """loss = alpha * size - log_alpha * (size - bound), with alpha = exp(log_alpha) and log_alpha = speed * parameter.

    The first term is the constraint's in the refinement loss (arXiv 2601.10471, equation 3).
    The gradient of the first term reaches only the refiner, that of the second only log_alpha: the multiplier rises
    if and only if the size is above the bound. (The paper prints alpha where its code, like this one, has log_alpha.)
    Adam moves the parameter by at most its rate, whatever the loss; `speed` makes log_alpha move faster.
    """

    log_multiplier: Float[Array, ""]
    """The parameter: log_alpha itself at the paper's speed of 1."""
    speed: float

    def loss(self, size: Scalar, bound: float) -> Scalar:
        check_bounded("dual", bound)
        held = jax.lax.stop_gradient(self.multiplier()) * size
        return held - self.speed * self.log_multiplier * (jax.lax.stop_gradient(size) - bound)

    def multiplier(self) -> Scalar:
        return jnp.exp(self.speed * self.log_multiplier)

    def advance(self, size: Scalar, bound: float) -> Self:
        return self


@register("dual")
class DualConstraintConfig(AbstractConstraintConfig):
    """A Lagrange multiplier trained with everything else: the paper's constraint."""

    initial_log_multiplier: float = 1.0
    """Initial log_alpha: 1.0 is a multiplier of 2.7. An update of Adam moves it by at most its learning rate."""

    speed: float = 1.0
    """How many times faster than in the paper log_alpha moves: at most speed times Adam's rate per update."""

    def __check_init__(self) -> None:
        start = self.initial_log_multiplier
        if not math.isfinite(start):
            raise ValueError(f"constraint dual: initial_log_multiplier must be finite, got {start}.")
        if not self.speed > 0:
            raise ValueError(f"constraint dual: speed must be positive, got {self.speed}.")

    def build(self, context: Context, *, key: Key[Array, ""]) -> DualConstraint:
        start = jnp.asarray(self.initial_log_multiplier / self.speed, jnp.float32)
        return DualConstraint(log_multiplier=start, speed=self.speed)
