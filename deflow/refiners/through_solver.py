"""The flow itself climbs: the gradient of the value enters the ODE solver (FBRAC in arXiv 2502.02538, section 5)."""

import jax.numpy as jnp

from ..types import Action, Observation
from .base import AbstractThroughSolverRefiner, Inquiry, register


@register("through-solver")
class ThroughSolver(AbstractThroughSolverRefiner):
    """No displacement, and no network of its own: the value's gradient trains the flow through every solver step.

    What keeps the flow near the data is the weight of its matching loss, the agent's `flow_weight`.
    """

    def __call__(self, observation: Observation, noise: Action, proposal: Action, inquiry: Inquiry) -> Action:
        return jnp.zeros_like(proposal)
