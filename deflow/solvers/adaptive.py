"""Methods that choose their steps by an error estimate: diffrax's `diffeqsolve`."""

import abc

import diffrax
import jax.numpy as jnp

from ..types import Action, Velocity
from .base import AbstractSolver, register


class AbstractAdaptive(AbstractSolver):
    """A diffrax solver whose steps keep the local error within `atol + rtol * |x|`."""

    rtol: float = 1e-3
    """Relative tolerance of one step."""

    atol: float = 1e-3
    """Absolute tolerance of one step, in action units."""

    max_steps: int = 256
    """Steps after which the solve gives up; the proposal is then NaN."""

    def __check_init__(self) -> None:
        if self.rtol <= 0 or self.atol <= 0:
            raise ValueError(f"solver tolerances must be positive, got rtol {self.rtol} and atol {self.atol}.")
        if self.max_steps < 1:
            raise ValueError(f"solver max_steps must be at least 1, got {self.max_steps}.")

    @property
    @abc.abstractmethod
    def method(self) -> diffrax.AbstractSolver:
        """The diffrax solver to use."""

    def __call__(self, velocity: Velocity, noise: Action) -> Action:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda time, point, args: velocity(jnp.asarray(time), point)),
            self.method,
            t0=0.0,
            t1=1.0,
            dt0=None,
            y0=noise,
            stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
            max_steps=self.max_steps,
            throw=False,
        )
        assert solution.ys is not None  # t1 is saved by default
        reached = solution.result == diffrax.RESULTS.successful
        return jnp.where(reached, solution.ys[-1], jnp.nan)


@register("tsit5")
class Tsit5(AbstractAdaptive):
    """Tsitouras' 5(4) method: diffrax's general recommendation."""

    @property
    def method(self) -> diffrax.AbstractSolver:
        return diffrax.Tsit5()


@register("dopri5")
class Dopri5(AbstractAdaptive):
    """Dormand and Prince's 5(4) method: the usual adaptive solver of flow-matching code."""

    @property
    def method(self) -> diffrax.AbstractSolver:
        return diffrax.Dopri5()
