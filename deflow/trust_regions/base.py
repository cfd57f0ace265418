"""The size of a displacement, measured by a shape, and the bound on it.

A region that asks the flow about the action itself, instead of measuring a displacement from a proposal, derives from
`AbstractFlowRegion`: `anchored.py` is one.

A complete member:

    @deflow.trust_regions.register("diamond")
    class Diamond(deflow.trust_regions.AbstractTrustRegion):
        bound: deflow.trust_regions.Bound = 0.1

        def size(self, displacement, observation):
            return jnp.sum(jnp.abs(displacement))

        def project(self, displacement, observation):
            return optax.projections.projection_l1_ball(displacement, self.limit)
"""

import abc
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import equinox as eqx

from ..registry import Registry
from ..types import AbstractConfig, AbstractPart, Action, Observation, Scalar

Bound = float | Literal["auto"]
"""The largest size inside, or `auto`: a number to be computed from the data (`deflow.resolve_bound`)."""


class AbstractRegion(AbstractPart):
    """What all trust regions have: a bound on the size of what is inside. Derive from one of the two kinds below."""

    if TYPE_CHECKING:  # for type checkers no argument of those that have none, such as NoTrustRegion()
        bound: Bound = eqx.field(init=False)
        """The largest size, in the units of `size`."""
    else:
        bound: eqx.AbstractVar[Bound]

    @property
    def limit(self) -> float:
        """The bound as a number.

        Raises:
            ValueError: If it is still `auto`.
        """
        if isinstance(self.bound, str):
            raise ValueError(
                "The trust region's bound is 'auto', a number that depends on the data: give a number, or compose "
                "with deflow.resolve_bound(config, task)."
            )
        return self.bound


class AbstractTrustRegion(AbstractRegion):
    """A shape around the proposal. Inside are the displacements whose size is at most the bound."""

    @abc.abstractmethod
    def size(self, displacement: Action, observation: Observation) -> Scalar:
        """The size of the displacement: at least 0, and 0 for the zero displacement."""

    @abc.abstractmethod
    def project(self, displacement: Action, observation: Observation) -> Action:
        """The nearest displacement inside."""


class FlowInquiry(eqx.Module):
    """What a flow region can ask about one action."""

    noise: Action
    """The noise that the action was made from."""

    velocity: Callable[[Action, Scalar], Action]
    """The flow's velocity at a point and a time, for the observation, with the field's parameters fixed."""

    time: Scalar
    """A time in [0, 1]: in a loss drawn uniformly for each sample, and 1/2 where a refiner asks."""


class AbstractFlowRegion(AbstractRegion):
    """A region of actions, measured by the flow itself: it needs no proposal, hence no ODE solve, and no projection.

    The size of the flow's own proposals need not be 0. Hard constraints, and refiners that project, are refused.
    """

    @abc.abstractmethod
    def size(self, action: Action, observation: Observation, inquiry: FlowInquiry) -> Scalar:
        """The size of an action: at least 0."""


class AbstractTrustRegionConfig(AbstractConfig):
    """The frozen configuration of a trust region with arrays, such as prototypes fitted to the data."""


registry: Registry[AbstractTrustRegion | AbstractFlowRegion | AbstractTrustRegionConfig] = Registry(
    "trust region", "trust_regions", (AbstractTrustRegion, AbstractFlowRegion, AbstractTrustRegionConfig)
)
"""The trust regions, by name."""
register = registry.register
"""Class decorator: adds a trust region under a name, see `deflow.registry.Registry.register`."""


def check_bound(region: str, bound: Bound) -> None:
    """Raises a `ValueError` for a bound that is not a positive, finite number or `auto`."""
    if bound != "auto" and (isinstance(bound, str) or not 0 < bound < math.inf):
        raise ValueError(f"trust region {region}: bound must be a positive number or auto, got {bound}.")
