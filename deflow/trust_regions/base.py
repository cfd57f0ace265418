"""The size of a displacement, measured by a shape, and the bound on it.

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
from typing import TYPE_CHECKING, Literal

import equinox as eqx

from ..registry import Registry
from ..types import AbstractConfig, AbstractPart, Action, Observation, Scalar

Bound = float | Literal["auto"]
"""The largest size inside, or `auto`: a number to be computed from the data (`deflow.resolve_bound`)."""


class AbstractTrustRegion(AbstractPart):
    """A shape around the proposal. Inside are the displacements whose size is at most the bound."""

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

    @abc.abstractmethod
    def size(self, displacement: Action, observation: Observation) -> Scalar:
        """The size of the displacement: at least 0, and 0 for the zero displacement."""

    @abc.abstractmethod
    def project(self, displacement: Action, observation: Observation) -> Action:
        """The nearest displacement inside."""


class AbstractTrustRegionConfig(AbstractConfig):
    """The frozen configuration of a trust region with arrays, such as prototypes fitted to the data."""


registry: Registry[AbstractTrustRegion | AbstractTrustRegionConfig] = Registry(
    "trust region", "trust_regions", (AbstractTrustRegion, AbstractTrustRegionConfig)
)
"""The trust regions, by name."""
register = registry.register
"""Class decorator: adds a trust region under a name, see `deflow.registry.Registry.register`."""


def check_bound(region: str, bound: Bound) -> None:
    """Raises a `ValueError` for a bound that is not a positive number or `auto`."""
    if bound != "auto" and (isinstance(bound, str) or not bound > 0):
        raise ValueError(f"trust region {region}: bound must be a positive number or auto, got {bound}.")
