"""FAN's anchor: how far an action is from where the flow's velocity would take its noise (arXiv 2605.01663)."""

import jax.numpy as jnp

from ..types import Action, Observation, Scalar
from .base import AbstractFlowRegion, FlowInquiry, check_bound, register


@register("anchored")
class Anchored(AbstractFlowRegion):
    """size = mean_i ((a - z)_i - v_i(o, (1 - t) z + t a, t))^2, for an action a made from the noise z: the residual of
    flow matching on the straight path from z to a. In a loss t ~ U[0, 1].

    It is the squared difference of a direction of the path and the flow's: one velocity in place of an ODE solve. It
    is 0 for the flow's proposals only where the flow's own paths are straight.
    """

    bound: float = 0.1
    """Largest size, in squared action units per dimension. The flow's own proposals do not have size 0: for a bound
    that matters (with dual), see what `training/size` is with a penalty."""

    def __check_init__(self) -> None:
        check_bound("anchored", self.bound)

    def size(self, action: Action, observation: Observation, inquiry: FlowInquiry) -> Scalar:
        point = (1.0 - inquiry.time) * inquiry.noise + inquiry.time * action
        velocity = inquiry.velocity(point, inquiry.time)
        return jnp.mean(jnp.square((action - inquiry.noise) - velocity))
