"""The value of an action, and the loss that learns it. A critic owns all its networks and targets.

A complete member is `ensemble.py`: a frozen configuration with `build`, and the critic it builds.
"""

import abc
from typing import TYPE_CHECKING, Self

import equinox as eqx
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


class AbstractCriticConfig(AbstractConfig):
    """The frozen configuration of a critic."""


registry: Registry[AbstractCritic | AbstractCriticConfig] = Registry(
    "critic", "critics", (AbstractCritic, AbstractCriticConfig)
)
"""The critics, by name."""
register = registry.register
"""Class decorator: adds a critic under a name, see `deflow.registry.Registry.register`."""
