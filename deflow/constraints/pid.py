"""A multiplier moved by proportional-integral-derivative control (Stooke et al. 2020, arXiv 2007.03964)."""

import math
from typing import Self

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from ..types import Context, Fixed, Scalar
from .base import AbstractConstraintConfig, AbstractSoftConstraint, check_bounded, register


class PIDConstraint(AbstractSoftConstraint):
    """loss = alpha * size, and after each update, with the relative error e = clip(size / bound - 1, -1, 1),

        I <- I + integral * e
        log alpha = I + proportional * e + derivative * (e - e_before)

    Stooke et al. (algorithm 2) control alpha itself, with gains in its units; here its logarithm is controlled, so that
    the gains do not depend on how large alpha must be.
    """

    state: Fixed
    """The array (I, log alpha, e)."""
    proportional: float
    integral: float
    derivative: float

    def loss(self, size: Scalar, bound: float) -> Scalar:
        check_bounded("pid", bound)
        return jax.lax.stop_gradient(self.multiplier()) * size

    def multiplier(self) -> Scalar:
        return jnp.exp(self.state.value[1])

    def advance(self, size: Scalar, bound: float) -> Self:
        integral, _, before = self.state.value
        error = jnp.clip(size / bound - 1.0, -1.0, 1.0)
        integral = integral + self.integral * error
        log_multiplier = integral + self.proportional * error + self.derivative * (error - before)
        state = Fixed(jnp.stack([integral, log_multiplier, error]))
        return type(self)(state, self.proportional, self.integral, self.derivative)


@register("pid")
class PIDConstraintConfig(AbstractConstraintConfig):
    """A multiplier under proportional-integral-derivative control: it settles within hundreds of updates."""

    initial_log_multiplier: float = 1.0
    """Initial log alpha: 1.0 is a multiplier of 2.7."""

    proportional: float = 0.1
    """Gain of the relative error: how much log alpha responds at once."""

    integral: float = 0.01
    """Gain of the error's sum: how much log alpha moves permanently per update, at most."""

    derivative: float = 0.0
    """Gain of the error's change, which is noisy because a batch's size is."""

    def __check_init__(self) -> None:
        if not math.isfinite(self.initial_log_multiplier):
            raise ValueError(
                f"constraint pid: initial_log_multiplier must be finite, got {self.initial_log_multiplier}."
            )
        for name in ("proportional", "derivative"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"constraint pid: {name} must not be negative, got {getattr(self, name)}.")
        if not self.integral > 0:
            raise ValueError(f"constraint pid: integral must be positive, got {self.integral}.")

    def build(self, context: Context, *, key: Key[Array, ""]) -> PIDConstraint:
        start = self.initial_log_multiplier
        state = Fixed(jnp.asarray([start, start, 0.0], jnp.float32))
        return PIDConstraint(state, self.proportional, self.integral, self.derivative)
