"""How the flow is integrated from noise (t = 0) to a proposal (t = 1).

A complete member:

    @deflow.solvers.register("one-jump")
    class OneJump(deflow.solvers.AbstractSolver):
        def __call__(self, velocity, noise):
            return noise + velocity(jnp.zeros(()), noise)
"""

import abc

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from ..registry import Registry
from ..types import AbstractPart, Action, Velocity


class AbstractSolver(AbstractPart):
    """Solves dx/dt = velocity(t, x) from x(0) = noise and returns x(1)."""

    @abc.abstractmethod
    def __call__(self, velocity: Velocity, noise: Action) -> Action:
        """x(1), of the shape of `noise`, unclipped."""


class AbstractStochasticSolver(AbstractSolver):
    """A solver that draws random numbers along the path, such as Euler-Maruyama.

    Its key is made from the bits of x(0), so a proposal is still determined by its noise, as refiners and resumed runs
    expect; different noises get unrelated keys.
    """

    @abc.abstractmethod
    def sample(self, velocity: Velocity, noise: Action, *, key: Key[Array, ""]) -> Action:
        """x(1), of the shape of `noise`, unclipped, with everything random drawn from `key`."""

    def __call__(self, velocity: Velocity, noise: Action) -> Action:
        return self.sample(velocity, noise, key=_key_of(noise))


def _key_of(noise: Action) -> Key[Array, ""]:
    """A key that depends on every bit of the noise, in float32."""
    exact = jax.lax.stop_gradient(noise).astype(jnp.float32)
    bits = jax.lax.bitcast_convert_type(exact, jnp.uint32)
    return jax.lax.scan(lambda key, entry: (jax.random.fold_in(key, entry), None), jax.random.key(0), bits)[0]


registry: Registry[AbstractSolver] = Registry("solver", "solvers", (AbstractSolver,))
"""The solvers, by name."""
register = registry.register
"""Class decorator: adds a solver under a name, see `deflow.registry.Registry.register`."""
