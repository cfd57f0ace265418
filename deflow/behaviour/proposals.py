"""Proposals drawn beforehand: K actions of a frozen behaviour flow for every state of a dataset.

DeFlow's flow never sees the critic (arXiv 2601.10471, section 4), so what it proposes at a state is the same at every
update once it is trained. Training then needs no ODE solve: it chooses among the K.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ..agent import Agent
from ..agent.proposing import needs_proposals
from ..agent.skeleton import static_values
from ..blocks import in_blocks
from ..constraints import NoConstraint
from ..critics import NoCritic
from ..keys import check_key
from ..progress import Bar
from ..refiners import NoRefiner
from ..trust_regions import NoTrustRegion
from ..types import Batch, check_number, proposal_noise
from .states import States

ROWS = 1 << 15
"""Proposals that are solved for together."""


@dataclasses.dataclass(frozen=True)
class Proposals:
    """K proposals for each of a dataset's M states, and what they belong to."""

    actions: np.ndarray
    """Clipped to [-1, 1], float32 of shape (M, K, A); of a file, memory-mapped."""

    key: Key[Array, ""]
    """The key from which the noise of each is made again."""

    behaviour: str
    """Digest of the field and the solver that made them, see `behaviour_digest`."""

    states: str
    """Digest of the states that they were made for."""

    def __repr__(self) -> str:
        states, count, size = self.actions.shape
        return f"Proposals({count} actions of size {size} for each of {states:,} states, {self.megabytes:.0f} MB)"

    @property
    def count(self) -> int:
        """Number of proposals for a state, K."""
        return self.actions.shape[1]

    @property
    def megabytes(self) -> float:
        """Their size, in 1e6 bytes."""
        return self.actions.size * self.actions.itemsize / 1e6

    def first(self, count: int) -> "Proposals":
        """The first `count` proposals of every state, which do not depend on how many there are."""
        return dataclasses.replace(self, actions=self.actions[:, :count])

    def check(self, agent: Agent, states: States) -> None:
        """Check that the agent can be trained from these proposals.

        Raises:
            ValueError: If they are of another behaviour or of other states, or too few for the critic's target.
        """
        if agent.gradient_enters_solver:
            raise ValueError(
                f"The refiner {type(agent.refiner).__name__} trains the flow through the solver, so proposals drawn "
                "beforehand would be of another flow: choose another refiner, or train without proposals."
            )
        if not any(needs_proposals(agent)):
            raise ValueError(
                "Neither the agent's critic nor its refiner asks for proposals in training: train it without."
            )
        needed = agent.critic.next_actions * agent.target_candidates
        if self.count < needed:
            raise ValueError(
                f"The critic's target needs {needed} different proposals for a state, and there are {self.count}: draw "
                f"at least {needed}."
            )
        if self.states != states.digest or len(self.actions) != len(states):
            raise ValueError("The proposals were drawn for other data: draw them for these transitions.")
        if self.behaviour != behaviour_digest(agent):
            raise ValueError(
                "The proposals are of another behaviour than the agent's: give the agent that field and solver "
                "(learner.with_behaviour), or draw proposals from its own."
            )


def for_seeds(proposals: Proposals | Sequence[Proposals], seeds: int | None) -> list[Proposals]:
    """The proposals that all seeds share (one), or those of each.

    Raises:
        TypeError: If they are something else.
        ValueError: If there are more or fewer of them, or of different numbers.
    """
    given = [proposals] if isinstance(proposals, Proposals) else list(proposals)
    for one in given:
        if not isinstance(one, Proposals):
            raise TypeError(f"proposals must be what deflow.draw_proposals returns, got {type(one).__name__}.")
    if len(given) not in (1, seeds or 1):
        raise ValueError(
            f"A learner of {seeds or 1} seed(s) needs proposals that all share, or one set for each, got {len(given)}."
        )
    if len({one.count for one in given}) > 1:
        counts = " and ".join(str(one.count) for one in given)
        raise ValueError(f"All seeds need equally many proposals for a state, got {counts}: draw the same number.")
    return given


def draw_proposals(agent: Agent, data: Batch, count: int, *, key: Key[Array, ""], progress: bool = True) -> Proposals:
    """`count` proposals of the agent's flow for every state of a dataset, in memory.

    Args:
        agent: The agent whose field and solver propose. It has one seed.
        data: N transitions in their original order, such as `task.train`.
        count: Number of proposals for a state, K.
        key: What the proposals' noises are made from.
        progress: Whether to show a bar.

    Raises:
        ValueError: If `count` is less than 1, or the data's shapes are not the agent's.
    """
    check_key(key)
    states = States.of(data)
    check_drawing(agent, states, count)
    actions = np.empty((len(states), count, agent.action_size), np.float32)
    with Bar(total=len(states), desc="proposals", unit="state", disable=not progress) as bar:
        for start, block in solved_blocks(agent, states, count, key=key):
            actions[start : start + len(block)] = block
            bar.update(len(block))
    return Proposals(actions, key, behaviour_digest(agent), states.digest)


def solved_blocks(
    agent: Agent, states: States, count: int, *, key: Key[Array, ""], start: int = 0
) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the first state, proposals (block, K, A)) from the state `start` on, which begins a block."""
    for first in range(start, len(states), block_size(count)):
        stop = min(first + block_size(count), len(states))
        numbers = np.arange(first, stop, dtype=np.int32)
        yield first, solved_block(agent, states.observations(first, stop), numbers, count, key=key)


def solved_block(
    agent: Agent, observations: np.ndarray, numbers: np.ndarray, count: int, *, key: Key[Array, ""]
) -> np.ndarray:
    """`count` proposals, shape (block, K, A), for the states of these numbers, which are at most a block."""
    missing = block_size(count) - len(numbers)
    padded = np.pad(observations, [(0, missing), *[(0, 0)] * (observations.ndim - 1)])
    # One program, and the same bits wherever a block ends.
    solved = solve(agent, jnp.asarray(padded), jnp.asarray(np.pad(numbers, (0, missing))), count, key)
    return np.asarray(solved)[: len(numbers)]


def block_size(count: int) -> int:
    """Number of states in a block."""
    return max(ROWS // count, 1)


def check_drawing(agent: Agent, states: States, count: int) -> None:
    """Raises a `ValueError` for a count below 1, or data of another shape."""
    check_number("draw_proposals", "count", count, int)
    if count < 1:
        raise ValueError(f"The number of proposals must be at least 1, got {count}.")
    got, wanted = states.data.observation.shape[1:], agent.spec.observation_shape
    if got != wanted:
        raise ValueError(f"The agent was built for observations of shape {wanted}, but the dataset's have shape {got}.")


def flow_alone(agent: Agent) -> Agent:
    """The agent that is nothing but this one's flow, in training."""
    return dataclasses.replace(
        agent,
        refiner=NoRefiner(),
        trust_region=NoTrustRegion(),
        constraint=NoConstraint(),
        critic=NoCritic(),
        flow_weight=1.0,
        field_frozen=False,
    )


def behaviour_digest(agent: Agent) -> str:
    """SHA-256 of the field and the solver, their arrays and their numbers: what determines a proposal, given its
    noise."""
    found = hashlib.sha256()
    for part in (agent.field, agent.solver):
        found.update(type(part).__name__.encode())
        for value in (*jax.tree.leaves(part), *static_values(part)):
            if isinstance(value, jax.Array | np.ndarray):
                found.update(f"{value.shape} {value.dtype}".encode())
                found.update(np.ascontiguousarray(value).data)
            else:
                found.update(repr(value).encode())
    return found.hexdigest()


@eqx.filter_jit
def solve(
    agent: Agent, observations: Array, numbers: Int[Array, " states"], count: int, key: Key[Array, ""]
) -> Float[Array, "states count action"]:
    """`count` proposals for each of these states, which have these numbers."""

    def one(observation: Array, number: Int[Array, ""]) -> Float[Array, "count action"]:
        features, size = agent.field.encode(observation), agent.action_size
        noises = jax.vmap(lambda which: proposal_noise(key, number, which, size))(jnp.arange(count))
        return jax.vmap(lambda noise: agent.propose(features, noise))(noises)

    return in_blocks(one, observations, numbers, rows=count)
