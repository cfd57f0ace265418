"""A size per dimension in units of the standard deviation of the data's actions near the state."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from ..types import Action, Context, Fixed, Observation, Scalar
from .base import AbstractTrustRegion, AbstractTrustRegionConfig, Bound, check_bound, register
from .geometry import nearest_inside, relative_size
from .prototypes import SMALLEST_DEVIATION, Prototypes, check_prototypes, local_covariances


class PerState(AbstractTrustRegion):
    """size = sqrt(mean_i (D_i / d_i)^2), with d_i the standard deviation of the data's actions near the state: the
    root mean square over dimensions of the displacement in local standard deviations.

    1 is one standard deviation in every dimension, whatever the action size. d is that of the nearest prototype
    (`prototypes.local_covariances`), at least 1e-3 action units.
    """

    prototypes: Prototypes
    variances: Fixed
    """d^2, shape (P, A)."""
    bound: Bound

    def size(self, displacement: Action, observation: Observation) -> Scalar:
        return relative_size(displacement, self.variances.value[self.prototypes.nearest(observation)])

    def project(self, displacement: Action, observation: Observation) -> Action:
        variances = self.variances.value[self.prototypes.nearest(observation)]
        return nearest_inside(displacement, variances, self.limit)


@register("per-state")
class PerStateConfig(AbstractTrustRegionConfig):
    """The displacement in local standard deviations: like `ellipsoid`, without correlations between dimensions."""

    bound: Bound = 0.3
    """Largest size, in multiples of the local standard deviation (root mean square over dimensions)."""

    prototypes: int = 64
    """Number of representative states; the deviations are those of the actions near the nearest one."""

    def __check_init__(self) -> None:
        check_bound("per-state", self.bound)
        check_prototypes("per-state", self.prototypes)

    def build(self, context: Context, *, key: Key[Array, ""]) -> PerState:
        prototypes, covariances = local_covariances(context, self.prototypes)
        variances = np.maximum(np.diagonal(covariances, axis1=1, axis2=2), SMALLEST_DEVIATION**2)
        variances = Fixed(jnp.asarray(variances, jnp.float32))
        return PerState(prototypes=prototypes, variances=variances, bound=self.bound)
