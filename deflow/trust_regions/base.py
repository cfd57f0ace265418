"""How large a displacement is: a shape, and the bound that one number puts on it.

A complete member:

    @deflow.trust_regions.register("diamond")
    class Diamond(deflow.trust_regions.AbstractTrustRegion):
        bound: float = 0.1

        def size(self, displacement, observation):
            return jnp.sum(jnp.abs(displacement))

        def project(self, displacement, observation):
            return optax.projections.projection_l1_ball(displacement, self.bound)
"""

import abc

import equinox as eqx

from ..registry import Registry
from ..types import AbstractConfig, Action, Observation, Scalar


class AbstractTrustRegion(eqx.Module):
    """A shape around the proposal. The displacements inside are those whose size is at most the bound."""

    bound: eqx.AbstractVar[float]
    """The largest size, in the units of `size`."""

    @abc.abstractmethod
    def size(self, displacement: Action, observation: Observation) -> Scalar:
        """How large the displacement is: at least 0, and 0 for no displacement."""

    @abc.abstractmethod
    def project(self, displacement: Action, observation: Observation) -> Action:
        """The nearest displacement inside."""


class AbstractTrustRegionConfig(AbstractConfig):
    """The frozen configuration of a trust region with arrays, such as prototypes fitted to the data."""


registry: Registry[AbstractTrustRegion | AbstractTrustRegionConfig] = Registry(
    "trust region", "trust_regions", (AbstractTrustRegion, AbstractTrustRegionConfig)
)
register = registry.register


def check_bound(region: str, bound: float) -> None:
    """Refuses a bound that is no size."""
    if not bound > 0:
        raise ValueError(f"trust region {region}: bound must be a positive number, got {bound}.")
