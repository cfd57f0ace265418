"""How the size is kept within the bound: by a multiplier on the mean size, by projecting each displacement, or not.

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

from ..registry import Registry
from ..types import AbstractConfig, AbstractPart, Action, Scalar


class AbstractConstraint(AbstractPart):
    """Keeps the batch mean of the size at the bound, or every displacement inside the trust region."""

    @abc.abstractmethod
    def loss(self, size: Scalar, bound: float) -> Scalar:
        """The term added to the refiner's loss; `size` is the batch mean. Its gradient reaches the refiner through
        `size`, and the constraint's own parameters."""

    @abc.abstractmethod
    def multiplier(self) -> Scalar:
        """The factor of `size` in the loss, which is reported. If the slope depends on the size, as in a quadratic
        penalty, a number that the slope outside the bound is never below."""

    @abc.abstractmethod
    def advance(self, size: Scalar, bound: float) -> Self:
        """The constraint after an update in which the batch mean was `size`. Used by control laws."""

    @abc.abstractmethod
    def restrict(self, displacement: Action, project: Callable[[Action], Action]) -> Action:
        """The displacement that is executed and used in the loss."""


class AbstractSoftConstraint(AbstractConstraint):
    """Acts on the batch mean and leaves each displacement unchanged."""

    def restrict(self, displacement: Action, project: Callable[[Action], Action]) -> Action:
        return displacement


class AbstractHardConstraint(AbstractConstraint):
    """Projects each displacement onto the trust region, in the loss and in acting."""

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
    """Raises a `ValueError` for a trust region without a finite bound, which this constraint needs."""
    if not math.isfinite(bound):
        raise ValueError(
            f"The constraint {constraint!r} needs a trust region with a finite bound, got {bound}: "
            "choose one (such as 'mean-square'), or the constraint 'none'."
        )
