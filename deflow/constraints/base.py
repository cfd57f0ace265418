"""How the trust region's bound is held: by a multiplier on the mean size, by projecting each displacement, or not.

A complete member:

    @deflow.constraints.register("hinge")
    class Hinge(deflow.constraints.AbstractSoftConstraint):
        weight: float = 100.0

        def loss(self, size, bound):
            return self.weight * jax.nn.relu(size - bound)

        def multiplier(self):
            return jnp.asarray(self.weight)

        def advance(self, size, bound):
            return self
"""

import abc
import math
from collections.abc import Callable
from typing import Self

import equinox as eqx

from ..registry import Registry
from ..types import AbstractConfig, Action, Scalar


class AbstractConstraint(eqx.Module):
    """Holds the batch mean of the trust region's size at the bound, or every displacement inside."""

    @abc.abstractmethod
    def loss(self, size: Scalar, bound: float) -> Scalar:
        """What is added to the refiner's loss; `size` is the batch mean. Its gradient reaches the refiner through
        `size`, and whatever the constraint itself learns."""

    @abc.abstractmethod
    def multiplier(self) -> Scalar:
        """The factor before `size` in the loss."""

    @abc.abstractmethod
    def advance(self, size: Scalar, bound: float) -> Self:
        """The constraint after one update in which the batch mean was `size`, for those that follow a control law."""

    @abc.abstractmethod
    def restrict(self, displacement: Action, project: Callable[[Action], Action]) -> Action:
        """The displacement that is executed, and that the loss sees."""


class AbstractSoftConstraint(AbstractConstraint):
    """Pulls on the batch mean and leaves each displacement as it is."""

    def restrict(self, displacement: Action, project: Callable[[Action], Action]) -> Action:
        return displacement


class AbstractHardConstraint(AbstractConstraint):
    """Projects each displacement into the trust region, in the loss and in acting."""

    def restrict(self, displacement: Action, project: Callable[[Action], Action]) -> Action:
        return project(displacement)


class AbstractConstraintConfig(AbstractConfig):
    """The frozen configuration of a constraint with arrays."""


registry: Registry[AbstractConstraint | AbstractConstraintConfig] = Registry(
    "constraint", "constraints", (AbstractConstraint, AbstractConstraintConfig)
)
"""The constraints, by name."""
register = registry.register
"""Class decorator: adds a constraint under a name, see `deflow.registry.Registry.register`."""


def check_bounded(constraint: str, bound: float) -> None:
    """Refuses a trust region without a bound, for a constraint that has one to hold."""
    if not math.isfinite(bound):
        raise ValueError(
            f"The constraint {constraint!r} needs a trust region with a finite bound, got {bound}: "
            "choose one (such as 'mean-square'), or the constraint 'none'."
        )
