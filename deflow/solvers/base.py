"""How the flow is integrated from noise (t = 0) to a proposal (t = 1).

A complete member:

    @deflow.solvers.register("one-jump")
    class OneJump(deflow.solvers.AbstractSolver):
        def __call__(self, velocity, noise):
            return noise + velocity(jnp.zeros(()), noise)
"""

import abc

from ..registry import Registry
from ..types import AbstractPart, Action, Velocity


class AbstractSolver(AbstractPart):
    """Solves dx/dt = velocity(t, x) from x(0) = noise and returns x(1)."""

    @abc.abstractmethod
    def __call__(self, velocity: Velocity, noise: Action) -> Action:
        """x(1), of the shape of `noise`, unclipped."""


registry: Registry[AbstractSolver] = Registry("solver", "solvers", (AbstractSolver,))
"""The solvers, by name."""
register = registry.register
"""Class decorator: adds a solver under a name, see `deflow.registry.Registry.register`."""
