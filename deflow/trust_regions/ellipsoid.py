"""An ellipsoid whose axes come from the data's actions near the state."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from ..types import Action, Context, Fixed, Observation, Scalar
from .base import AbstractTrustRegion, AbstractTrustRegionConfig, Bound, check_bound, register
from .geometry import nearest_inside, relative_size
from .prototypes import SMALLEST_DEVIATION, Prototypes, check_prototypes, local_covariances


class Ellipsoid(AbstractTrustRegion):
    """size = sqrt(D^T S^-1 D / A), with S the covariance of the data's actions near the state: the root mean square,
    over S's principal axes, of the displacement in local standard deviations.

    Because of the division by the action size A, 1 means one standard deviation along every axis, whatever A is. S is
    that of the nearest prototype (`prototypes.local_covariances`), eigenvalues at least (1e-3 action units)^2.
    """

    prototypes: Prototypes
    axes: Fixed
    """Eigenvectors of S as columns, shape (P, A, A)."""
    variances: Fixed
    """Eigenvalues of S, shape (P, A)."""
    bound: Bound

    def size(self, displacement: Action, observation: Observation) -> Scalar:
        index = self.prototypes.nearest(observation)
        return relative_size(displacement @ self.axes.value[index], self.variances.value[index])

    def project(self, displacement: Action, observation: Observation) -> Action:
        index = self.prototypes.nearest(observation)
        axes, limit = self.axes.value[index], self.limit
        along = displacement @ axes
        nearest = nearest_inside(along, self.variances.value[index], limit)
        return jnp.where(relative_size(along, self.variances.value[index]) > limit, axes @ nearest, displacement)


@register("ellipsoid")
class EllipsoidConfig(AbstractTrustRegionConfig):
    """Mahalanobis length per dimension: loose where the data's actions near the state vary, tight where they do not."""

    bound: Bound = 0.3
    """Largest size, in multiples of the local standard deviation (root mean square over the principal axes)."""

    prototypes: int = 64
    """Number of representative states; the covariance is that of the actions near the nearest one."""

    def __check_init__(self) -> None:
        check_bound("ellipsoid", self.bound)
        check_prototypes("ellipsoid", self.prototypes)

    def build(self, context: Context, *, key: Key[Array, ""]) -> Ellipsoid:
        prototypes, covariances = local_covariances(context, self.prototypes)
        variances, axes = np.linalg.eigh(covariances)
        variances = np.maximum(variances, SMALLEST_DEVIATION**2)
        axes, variances = (Fixed(jnp.asarray(array, jnp.float32)) for array in (axes, variances))
        return Ellipsoid(prototypes=prototypes, axes=axes, variances=variances, bound=self.bound)
