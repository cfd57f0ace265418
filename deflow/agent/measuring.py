"""How large an action is: what the trust region says of a displacement, or of an action and the flow."""

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from ..critics.base import Origin
from ..trust_regions.base import AbstractFlowRegion, FlowInquiry
from ..types import Action, Batch, Observation, Scalar
from .proposing import Proposed, held

if TYPE_CHECKING:
    from .agent import Agent


def size_of(
    agent: "Agent", observation: Observation, noise: Action, action: Action, displacement: Action, time: Scalar
) -> Scalar:
    """The size of the displacement; in a flow region, that of the action made from this noise, at a time of its path.

    No gradient reaches the field's parameters.
    """
    region = agent.trust_region
    if isinstance(region, AbstractFlowRegion):
        flow = held(agent)
        features = flow.field.encode(observation)
        inquiry = FlowInquiry(noise, lambda point, time: flow.velocity(features, point, time), time)
        return shaped(region.size(action, observation, inquiry), (), region, "size")
    return shaped(region.size(displacement, observation), (), region, "size")


def projected(agent: "Agent", observation: Observation, displacement: Action) -> Action:
    """The nearest displacement inside the trust region.

    Raises:
        ValueError: In a flow region, which has no projection.
    """
    region = agent.trust_region
    if isinstance(region, AbstractFlowRegion):
        raise ValueError(
            f"The refiner {type(agent.refiner).__name__!r} projects onto the trust region, which asks the flow about "
            "actions and has no projection: choose another refiner, or a trust region that measures displacements."
        )
    return region.project(displacement, observation)


def origins(
    agent: "Agent",
    batch: Batch,
    proposed: Proposed,
    actions: Float[Array, "batch next_actions action"],
    which: Int[Array, "batch next_actions"],
    *,
    key: Key[Array, ""],
) -> Origin:
    """How the policy made the actions at s', each from the candidate `which`: with a leading axis B, no gradient."""
    agent, times = held(agent), jax.random.uniform(key, which.shape)

    def one(observation: Any, noise: Action, proposal: Action | None, action: Action, time: Scalar) -> Scalar:
        # Where there is no proposal, the region is the flow's and asks about the action: see `needs_proposals`.
        displacement = action if proposal is None else action - proposal
        return size_of(agent, observation, noise, action, displacement, time)

    def of_row(observation: Any, noises: Any, proposals: Any, actions: Any, which: Any, times: Any) -> Origin:
        drawn = (noises, proposals)  # (next_actions, candidates, A)
        noise, proposal = jax.tree.map(
            lambda each: jnp.take_along_axis(each, which[:, None, None], axis=1)[:, 0], drawn
        )
        sizes = jax.vmap(one, in_axes=(None, 0, 0, 0, 0))(observation, noise, proposal, actions, times)
        return Origin(noise, sizes)

    return jax.vmap(of_row)(batch.next_observation, proposed.next_noise, proposed.next_proposal, actions, which, times)


def shaped(array: Any, shape: tuple[int, ...], part: object, what: str) -> Any:
    """The array, after a check that the part returned the right shape."""
    if (got := "nothing" if array is None else jnp.shape(array)) != shape:
        raise ValueError(f"{type(part).__name__} must return a {what} of shape {shape}, got {got}.")
    return array
