"""The flow's proposals that a loss needs, at s and at s': solved for, or chosen among those drawn beforehand."""

import itertools
from typing import TYPE_CHECKING, Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from ..critics.base import AbstractInquiringCritic
from ..keys import named_key
from ..refiners.base import AbstractDirectRefiner, AbstractLearnedRefiner
from ..trust_regions.base import AbstractTrustRegion
from ..types import Batch, BatchProposals, proposal_noise

if TYPE_CHECKING:
    from .agent import Agent


class Proposed(NamedTuple):
    """Proposals for a batch, and the noise that the flow carried to each; None where nothing needs them."""

    noise: Float[Array, "batch action"]
    proposal: Float[Array, "batch action"] | None
    next_noise: Float[Array, "batch next_actions candidates action"]
    next_proposal: Float[Array, "batch next_actions candidates action"] | None


def solved(agent: "Agent", batch: Batch, *, key: Key[Array, ""]) -> Proposed:
    """Fresh proposals from the agent's flow. One solve covers s and s', without a gradient."""
    noise = jax.random.normal(named_key(key, "noise"), (len(batch), agent.action_size))
    shape = (len(batch), agent.critic.next_actions, agent.target_candidates, agent.action_size)
    next_noise = jax.random.normal(named_key(key, "next noise"), shape)
    here, following = (batch.observation, noise), (batch.next_observation, next_noise)
    at_state, at_next = needs_proposals(agent)
    if agent.gradient_enters_solver:
        next_proposal = _solve(held(agent), following)[0] if at_next else None
        return Proposed(noise, _solve(agent, here)[0], next_noise, next_proposal)
    found = iter(_solve(held(agent), *[here] * at_state, *[following] * at_next))
    return Proposed(noise, next(found) if at_state else None, next_noise, next(found) if at_next else None)


def chosen(agent: "Agent", drawn: BatchProposals, *, key: Key[Array, ""]) -> Proposed:
    """Proposals chosen at random among the K of each state; those for one s' are different ones."""
    at_state, at_next = needs_proposals(agent)
    rows, count = len(drawn.place), agent.critic.next_actions * agent.target_candidates
    shape = (rows, agent.critic.next_actions, agent.target_candidates, agent.action_size)
    noise, proposal = _choose(drawn, drawn.place, drawn.number, 1, key=named_key(key, "noise"))
    if at_next:
        both = _choose(drawn, drawn.next_place, drawn.next_number, count, key=named_key(key, "next noise"))
        next_noise, next_proposal = (part.reshape(shape) for part in both)
    else:
        next_noise, next_proposal = jax.random.normal(named_key(key, "next noise"), shape), None
    return Proposed(noise[:, 0], proposal[:, 0] if at_state else None, next_noise, next_proposal)


def needs_proposals(agent: "Agent") -> tuple[bool, bool]:
    """Whether the loss needs proposals at s, and whether it needs them at s'.

    What needs one is a displacement: a refiner's that starts from the proposal, or a trust region's that measures it.
    """
    count = agent.critic.next_actions * agent.target_candidates
    measures = isinstance(agent.trust_region, AbstractTrustRegion)
    direct = isinstance(agent.refiner, AbstractDirectRefiner)
    at_state = isinstance(agent.refiner, AbstractLearnedRefiner) and (measures or not direct)
    measured = measures and isinstance(agent.critic, AbstractInquiringCritic)
    return at_state, count > 0 and (agent.acting_solves or measured)


def held(tree: Any) -> Any:
    """The same tree, with no gradient to its arrays."""
    return jax.tree.map(lambda leaf: jax.lax.stop_gradient(leaf) if eqx.is_inexact_array(leaf) else leaf, tree)


def _choose(
    drawn: BatchProposals, places: Any, numbers: Any, count: int, *, key: Key[Array, ""]
) -> tuple[Float[Array, "batch {count} action"], Float[Array, "batch {count} action"]]:
    """The noises and proposals of `count` different ones of each state's K."""
    size = drawn.actions.shape[1]
    if count == 1:
        which = jax.random.randint(key, (len(places), 1), 0, size)
    else:
        which = jax.lax.top_k(jax.random.uniform(key, (len(places), size)), count)[1]
    noises = jax.vmap(jax.vmap(proposal_noise, (None, None, 0, None)), (None, 0, 0, None))
    return (
        noises(drawn.key, numbers, which, drawn.actions.shape[-1]),
        drawn.actions[places[:, None], which].astype(jnp.float32),
    )


def _solve(agent: "Agent", *wanted: tuple[Any, Array]) -> list[Array]:
    """Proposals for pairs of observations (B, *observation) and noises (B, ..., A), which have the noises' shapes.

    A single solve covers all of them, with fewer and larger products. Each observation is encoded once.
    """
    if not wanted:
        return []
    features = jax.vmap(agent.field.encode)(jnp.concatenate([observation for observation, _ in wanted]))
    rows = [
        (jnp.repeat(part, noise.size // (len(noise) * noise.shape[-1]), axis=0), noise.reshape(-1, noise.shape[-1]))
        for part, (_, noise) in zip(jnp.split(features, len(wanted)), wanted, strict=True)
    ]
    repeated, flat = (jnp.concatenate(parts) for parts in zip(*rows, strict=True))
    proposals = jax.vmap(agent.propose)(repeated, flat)
    ends = list(itertools.accumulate(len(noise) for _, noise in rows))[:-1]
    return [part.reshape(noise.shape) for part, (_, noise) in zip(jnp.split(proposals, ends), wanted, strict=True)]
