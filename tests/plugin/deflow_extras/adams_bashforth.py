"""A multistep method: the velocity of the step before is used again, so that order 2 costs what Euler costs."""

import jax.numpy as jnp

import deflow
from deflow.types import Action, Velocity


class AdamsBashforth(deflow.solvers.AbstractSolver):
    """Adams and Bashforth's two-step method, order 2: one velocity per step.

    x_{n+1} = x_n + h (3/2 v_n - 1/2 v_{n-1}). The first step, which has none before it, is the midpoint method's.
    """

    steps: int = 10
    """Number of equal steps."""

    def __check_init__(self):
        if self.steps < 1:
            raise ValueError(f"solver steps must be at least 1, got {self.steps}.")

    def __call__(self, velocity: Velocity, noise: Action) -> Action:
        step = 1.0 / self.steps
        # Times have the type of the noise: float32 in training, float64 where the order is measured.
        before = velocity(jnp.zeros((), noise.dtype), noise)
        middle = velocity(jnp.asarray(0.5 * step, noise.dtype), noise + 0.5 * step * before)
        point = noise + step * middle
        for index in range(1, self.steps):
            now = velocity(jnp.asarray(index * step, noise.dtype), point)
            point, before = point + step * (1.5 * now - 0.5 * before), now
        return point
