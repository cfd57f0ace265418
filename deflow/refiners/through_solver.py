"""The flow itself climbs the value, whose gradient passes through the solver (FBRAC, arXiv 2502.02538, section 5)."""

import jax.numpy as jnp

from ..types import Action, Observation
from .base import AbstractThroughSolverRefiner, Inquiry, register


@register("through-solver")
class ThroughSolver(AbstractThroughSolverRefiner):
    """No displacement and no network: the value's gradient trains the flow through every solver step.

    The weight of the matching loss, the agent's `flow_weight`, keeps the flow near the data.
    """

    def __call__(self, observation: Observation, noise: Action, proposal: Action, inquiry: Inquiry) -> Action:
        return jnp.zeros_like(proposal)
