"""Moving a proposal toward higher value. A refiner's base class says what it needs and what is trained through it.

A complete member:

    @deflow.refiners.register("random-search")
    class RandomSearch(deflow.refiners.AbstractRefiner):
        candidates: int = 8

        def __call__(self, observation, noise, proposal, inquiry):
            directions = jnp.outer(jnp.linspace(0, 1, self.candidates), noise)
            moves = jax.vmap(lambda d: inquiry.project(d))(directions)
            values = jax.vmap(lambda d: inquiry.value(proposal + d))(moves)
            return moves[jnp.argmax(values)]
"""

import abc
from collections.abc import Callable

import equinox as eqx

from ..registry import Registry
from ..types import AbstractConfig, AbstractPart, Action, Observation, Scalar


class Inquiry(eqx.Module):
    """The functions that a refiner can call, for one observation."""

    value: Callable[[Action], Scalar]
    """The critic's value of an action (clipped to [-1, 1] first), with the critic's parameters fixed."""

    size: Callable[[Action], Scalar]
    """The trust region's size of a displacement."""

    project: Callable[[Action], Action]
    """The nearest displacement inside the trust region."""


class AbstractRefiner(AbstractPart):
    """Returns the displacement that is added to a proposal. The sum is clipped to [-1, 1] and executed."""

    @abc.abstractmethod
    def __call__(self, observation: Observation, noise: Action, proposal: Action, inquiry: Inquiry) -> Action:
        """The displacement of shape (A,), given the noise that the flow carried to the proposal."""


class AbstractStillRefiner(AbstractRefiner):
    """A refiner that never displaces a proposal: there is nothing for a trust region and a constraint to hold."""


class AbstractLearnedRefiner(AbstractRefiner):
    """A refiner trained by the refinement loss: it climbs the critic's value under the constraint."""


class AbstractDirectRefiner(AbstractLearnedRefiner):
    """A learned refiner that acts without a proposal: unless displacements are projected, acting needs no ODE solve.

    Its displacement is `act(observation, noise) - proposal`.
    """

    @abc.abstractmethod
    def act(self, observation: Observation, noise: Action) -> Action:
        """The action, unclipped."""

    def __call__(self, observation: Observation, noise: Action, proposal: Action, inquiry: Inquiry) -> Action:
        return self.act(observation, noise) - proposal


class AbstractThroughSolverRefiner(AbstractLearnedRefiner):
    """A refiner whose loss trains the flow itself, by the gradient of the value through the ODE solver."""


class AbstractRefinerConfig(AbstractConfig):
    """The frozen configuration of a refiner with arrays."""


registry: Registry[AbstractRefiner | AbstractRefinerConfig] = Registry(
    "refiner", "refiners", (AbstractRefiner, AbstractRefinerConfig)
)
"""The refiners, by name."""
register = registry.register
"""Class decorator: adds a refiner under a name, see `deflow.registry.Registry.register`."""
