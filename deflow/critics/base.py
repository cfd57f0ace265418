"""The value of an action, and the loss that learns it. A critic owns all its networks and targets.

A complete member is `ensemble.py`: a frozen configuration with `build`, and the critic it builds. What a critic can do
beyond that is a type: `AbstractInquiringCritic`, `AbstractStochasticCritic`.
"""

import abc
from typing import TYPE_CHECKING, Self

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..registry import Registry
from ..types import AbstractConfig, AbstractPart, Action, Batch, Observation, Scalar


class AbstractCritic(AbstractPart):
    """Estimates returns. Arrays that are not trained by gradients (targets, supports) are wrapped in `Fixed`."""

    if TYPE_CHECKING:  # for type checkers a property: a field would be an argument of every construction

        @property
        @abc.abstractmethod
        def next_actions(self) -> int:
            """The number of actions of the policy at s' that the loss needs per transition. The agent supplies them."""

    else:
        next_actions: eqx.AbstractVar[int]

    @abc.abstractmethod
    def value(self, observation: Observation, action: Action) -> Scalar:
        """The value that the refiner climbs."""

    @abc.abstractmethod
    def score(self, observation: Observation, action: Action) -> Scalar:
        """The score that ranks candidates, in acting and in the TD target."""

    @abc.abstractmethod
    def loss(
        self, transition: Batch, next_actions: Float[Array, "next_actions action"], *, key: Key[Array, ""]
    ) -> tuple[Scalar, dict[str, Scalar]]:
        """The loss of one transition, and what to log. No gradient may flow into `next_actions`' use as a target."""

    @abc.abstractmethod
    def advance(self) -> Self:
        """The critic after an update of its parameters: moves its targets."""


class Origin(eqx.Module):
    """How the policy made its actions at s'."""

    noises: Float[Array, "next_actions action"]
    """The noise that each one was made from; with several target candidates, that of the chosen one."""

    sizes: Float[Array, " next_actions"]
    """Each one's size, as the trust region measures it; 0 without a trust region."""


class AbstractInquiringCritic(AbstractCritic):
    """A critic whose loss asks how the next actions were made."""

    @abc.abstractmethod
    def inquiring_loss(
        self,
        transition: Batch,
        next_actions: Float[Array, "next_actions action"],
        origin: Origin,
        *,
        key: Key[Array, ""],
    ) -> tuple[Scalar, dict[str, Scalar]]:
        """The loss of one transition, and what to log. No gradient may flow into `next_actions` or `origin.sizes`."""

    def loss(
        self, transition: Batch, next_actions: Float[Array, "next_actions action"], *, key: Key[Array, ""]
    ) -> tuple[Scalar, dict[str, Scalar]]:
        """The loss as though the actions were made from the noise 0 and had the size 0."""
        origin = Origin(jnp.zeros_like(next_actions), jnp.zeros(len(next_actions)))
        return self.inquiring_loss(transition, next_actions, origin, key=key)


class AbstractStochasticCritic(AbstractCritic):
    """A critic whose value of an action is random when a refiner is trained; `value` and `score` draw nothing."""

    @abc.abstractmethod
    def sample_value(self, observation: Observation, action: Action, *, key: Key[Array, ""]) -> Scalar:
        """The value that the refiner climbs in its loss, with everything random drawn from `key`."""


class AbstractCriticConfig(AbstractConfig):
    """The frozen configuration of a critic."""


registry: Registry[AbstractCritic | AbstractCriticConfig] = Registry(
    "critic", "critics", (AbstractCritic, AbstractCriticConfig)
)
"""The critics, by name."""
register = registry.register
"""Class decorator: adds a critic under a name, see `deflow.registry.Registry.register`."""
