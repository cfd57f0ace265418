"""Runge-Kutta methods with equal steps: diffrax's tableaus, with its `step` called in an unrolled loop.

Unrolled, ten steps cost as much as hand-written Euler, forward and backward; `diffeqsolve` costs up to twice that.
"""

import abc
import itertools

import diffrax
import jax.numpy as jnp

from ..types import Action, Velocity
from .base import AbstractSolver, register


class AbstractFixedStep(AbstractSolver):
    """Equal steps over [0, 1] with a diffrax solver."""

    steps: int = 10
    """Number of equal steps."""

    def __check_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"solver steps must be at least 1, got {self.steps}.")

    @property
    @abc.abstractmethod
    def method(self) -> diffrax.AbstractSolver:
        """The diffrax solver whose `step` is used."""

    def __call__(self, velocity: Velocity, noise: Action) -> Action:
        method = self.method
        term = diffrax.ODETerm(lambda time, point, args: velocity(jnp.asarray(time), point))
        edges = [jnp.asarray(index / self.steps, noise.dtype) for index in range(self.steps + 1)]
        state, point = method.init(term, edges[0], edges[1], noise, None), noise
        for start, end in itertools.pairwise(edges):
            point, _, _, state, _ = method.step(term, start, end, point, None, state, made_jump=False)
        return point


@register("euler")
class Euler(AbstractFixedStep):
    """Euler's method, order 1: one velocity per step. The paper's choice, with 10 steps."""

    @property
    def method(self) -> diffrax.AbstractSolver:
        return diffrax.Euler()


@register("midpoint")
class Midpoint(AbstractFixedStep):
    """The explicit midpoint method, order 2: two velocities per step."""

    @property
    def method(self) -> diffrax.AbstractSolver:
        return diffrax.Midpoint()


@register("heun")
class Heun(AbstractFixedStep):
    """Heun's method (the explicit trapezoidal rule), order 2: two velocities per step."""

    @property
    def method(self) -> diffrax.AbstractSolver:
        return diffrax.Heun()


@register("ralston")
class Ralston(AbstractFixedStep):
    """Ralston's method, order 2 with the least error bound: two velocities per step."""

    @property
    def method(self) -> diffrax.AbstractSolver:
        return diffrax.Ralston()


@register("bosh3")
class Bosh3(AbstractFixedStep):
    """Bogacki and Shampine's method, order 3: three velocities per step (the next step reuses the last)."""

    @property
    def method(self) -> diffrax.AbstractSolver:
        return diffrax.Bosh3()
