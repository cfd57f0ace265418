"""A trust region that many small moves fill as one large move does: projecting onto it leaves few dimensions moved."""

import jax.numpy as jnp
import optax

import deflow
from deflow.types import Action, Observation, Scalar


class L1Ball(deflow.trust_regions.AbstractTrustRegion):
    """size = sum_i |D_i|, in action units."""

    bound: deflow.trust_regions.Bound = 0.2
    """Largest sum of the absolute moves, in action units."""

    def __check_init__(self):
        deflow.trust_regions.check_bound("l1-ball", self.bound)

    def size(self, displacement: Action, observation: Observation) -> Scalar:
        return jnp.sum(jnp.abs(displacement))

    def project(self, displacement: Action, observation: Observation) -> Action:
        return optax.projections.projection_l1_ball(displacement, self.limit)
