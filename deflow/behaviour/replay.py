"""Online training from proposals: the dataset's, drawn beforehand, and those of new states, made as they come in."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from ..agent import Agent
from ..replay import AbstractReplay, AbstractSource, Chunks, HostReplay, Placement, Sampling, make_replay
from ..replay.images import Transitions, as_batch
from ..replay.placement import choose_placement, chunk_bytes, dataset_bytes, extras_bytes, replay_bytes
from ..replay.ring import Extras
from ..replay.sampling import AbstractMixture, Drawn
from ..types import Batch, BatchProposals
from .proposals import (
    Proposals,
    behaviour_digest,
    block_size,
    draw_proposals,
    flow_alone,
    for_seeds,
    solve,
    solved_block,
)
from .source import ProposedMixture, stacked
from .states import States


class ProposedReplay(AbstractReplay):
    """A replay whose transitions carry K proposals of a frozen flow for s and for s', so that no update solves an ODE.

    A transition's proposals are solved for when it is inserted, once for each new state: s' of one is s of the next,
    unless an episode ended. They are columns of the ring, so a checkpoint has them.
    """

    def __init__(
        self,
        agent: Agent,
        data: Batch,
        proposals: Proposals | Sequence[Proposals],
        *,
        seeds: int | None = None,
        steps: int,
        environments: int = 1,
        capacity: int = 2_000_000,
        sampling: Sampling = "uniform",
        placement: Placement = "auto",
    ):
        """A replay for at most `steps` online transitions per seed.

        Args:
            agent: The agent to be trained, `learner.agent`; of several seeds, its arrays have an axis for them.
            data: N transitions as they were loaded, such as `task.train`. n-step returns or chunks are made here.
            proposals: What `draw_proposals` drew for the data from the agent's flow: one that all seeds share, or one
                for each.
            seeds: `learner.seeds`.
            environments: Those of each seed, which matters to an agent with chunks.
            steps, capacity, sampling, placement: As for `make_replay`.

        Raises:
            ValueError: If the proposals are of another flow or of other data, or too few; if the capacity is smaller
                than the dataset.
        """
        _check_seeds(agent, seeds)
        self._proposals = for_seeds(proposals, seeds)
        self._keys = jnp.stack([self._of(seed).key for seed in range(seeds or 1)])
        self._states = States.of(data)
        self._flow, self.n_step, self.seeds = flow_alone(agent), agent.n_step, seeds
        for seed in range(seeds or 1):
            self._of(seed).check(_seed(agent, seed, seeds), self._states)
        count, tables = self._of(0).count, len(self._proposals)
        if placement == "auto":
            online = min(steps, capacity) * (seeds or 1)
            further = proposals_bytes(count, agent.action_size, states=tables * len(self._states), online=online)
            further += chunk_bytes(len(data), agent.spec, agent.chunk)
            further += dataset_bytes(data, agent.spec) + replay_bytes(agent.spec, online)
            placement = choose_placement(further)
        extras = proposed_columns(count, agent.action_size)
        settings = {"steps": steps, "capacity": capacity, "sampling": sampling, "placement": placement}
        settings["chunks"] = Chunks(agent.chunk, agent.discount, environments)
        self.transitions = make_replay(agent.with_returns(data), agent.spec, seeds=seeds, extras=extras, **settings)
        """Where the transitions themselves are kept."""
        self.rows, self.ring = self.transitions.rows, self.transitions.ring
        self.windows, self.chunks = self.transitions.windows, self.transitions.chunks
        self.capacity, self.sampling = capacity, sampling
        first, last = agent.rows(data)
        self._here, self._following = self._states.here[first], self._states.following[last]
        self._place()

    def check(self, agents: Sequence[Agent]) -> None:
        """Check that these agents, one for each seed, can be trained from this replay.

        Raises:
            ValueError: If it is of another flow, or its returns are of another number of steps.
        """
        for seed, agent in enumerate(agents):
            self._of(seed).check(agent, self._states)
            if agent.chunk != self.chunks.length:
                raise ValueError(
                    f"The replay was made for an agent with chunks of {self.chunks.length}, and this one's are of "
                    f"{agent.chunk}: make the replay with the agent that is trained."
                )
            if agent.n_step != self.n_step:
                raise ValueError(
                    f"The replay was made for an agent of {self.n_step}-step returns, and this one's are of "
                    f"{agent.n_step}: make the replay with the agent that is trained."
                )

    def insert(self, transitions: Batch) -> None:
        extras = {**transitions.extras, **self._made(transitions)}
        self.transitions.insert(dataclasses.replace(transitions, extras=extras))

    def source(self, size: int, keys: Key[Array, " updates *seeds"], *, expected: int = 0) -> AbstractSource:
        source = self.transitions.source(size, keys, expected=expected)
        if isinstance(source, AbstractMixture):
            return ProposedMixture(source, *self._on_device)
        assert isinstance(source, Drawn)
        assert isinstance(self.transitions, HostReplay)
        numbers = self.transitions.numbers(size, keys, expected=expected)
        if self.seeds is None:
            proposals = self._gathered(0, numbers)
        else:
            proposals = jax.tree.map(stacked, *(self._gathered(s, numbers[:, s]) for s in range(self.seeds)))
        return Drawn(dataclasses.replace(source.batches, proposals=proposals))

    def restore(self, states: list[Transitions], inserted: int) -> None:
        self.transitions.restore(states, inserted)

    def follow(self, agent: Agent) -> None:
        """See that the proposals are of this agent's flow: drawn again if it is another one."""
        agents = [_seed(agent, seed, self.seeds) for seed in range(self.seeds or 1)]
        if any(self._of(seed).behaviour != behaviour_digest(one) for seed, one in enumerate(agents)):
            self.refresh(agent)

    def refresh(self, agent: Agent, *, progress: bool = True) -> None:
        """Draw all proposals again, from the flow of this agent; of several seeds, its arrays have an axis for them."""
        agents = [_seed(agent, seed, self.seeds) for seed in range(self.seeds or 1)]
        keys, count, states = list(self._keys), self._of(0).count, []
        self._proposals = [
            draw_proposals(one, self._states.data, count, key=key, progress=progress)
            for one, key in zip(agents, keys, strict=True)
        ]
        for seed, (one, key) in enumerate(zip(agents, keys, strict=True)):
            state = self.ring.state(seed)
            rows = as_batch(state)
            columns: dict[str, Any] = rows.extras  # the arrays of the state, written in place
            for observations, which in ((rows.observation, ""), (rows.next_observation, "next_")):
                numbers, actions = columns[f"{which}number"], columns[f"{which}proposals"]
                for start in range(0, len(rows), block_size(count)):
                    block = slice(start, start + block_size(count))
                    seen = np.asarray(observations[block])
                    actions[block] = solved_block(one, seen, numbers[block], count, key=key)
            states.append(state)
        self._flow = flow_alone(agent)
        self._place()
        self.restore(states, self.inserted)

    def _of(self, seed: int) -> Proposals:
        return self._proposals[seed % len(self._proposals)]

    def _place(self) -> None:
        """Puts the dataset's proposals where its transitions are."""
        if isinstance(self.transitions, HostReplay):
            return
        one = len(self._proposals) == 1
        tables, keys = [one.actions for one in self._proposals], [one.key for one in self._proposals]
        actions, key = (tables[0], keys[0]) if one else (np.stack(tables), jnp.stack(keys))
        self._on_device = (jnp.asarray(self._here), jnp.asarray(self._following), jnp.asarray(actions), key)

    def _made(self, transitions: Batch) -> dict[str, Any]:
        """The proposals of new transitions with leading axes (S, E)."""
        environments = transitions.reward.shape[1]
        own = len(self._states) + 2 * (self.inserted + np.arange(environments, dtype=np.int32))
        before, goes_on = self.ring.before(environments).extras, self.ring.continues(transitions)
        here = before["next_proposals"]
        if not goes_on.all():
            here = np.where(goes_on[..., None, None], here, self._solved(transitions.observation, own))
        return {
            "proposals": here,
            "next_proposals": self._solved(transitions.next_observation, own + 1),
            "number": np.where(goes_on, before["next_number"], own).astype(np.int32),
            "next_number": np.broadcast_to(own + 1, goes_on.shape).astype(np.int32),
        }

    def _solved(self, observations: Any, numbers: np.ndarray) -> np.ndarray:
        """Proposals (S, E, K, A) for observations (S, E, *observation) of the states of these E numbers."""
        count, observations, places = self._of(0).count, jnp.asarray(observations), jnp.asarray(numbers)
        if self.seeds is None:
            return np.asarray(solve(self._flow, observations[0], places, count, self._of(0).key))[None]
        return np.asarray(_solve_together(self._flow, observations, places, count, self._keys))

    def _gathered(self, seed: int, numbers: np.ndarray) -> BatchProposals:
        """The proposals of the transitions that a seed's updates draw, (updates, size)."""
        (updates, size), proposals, online = numbers.shape, self._of(seed), self.ring.rows.extras
        is_online = numbers >= self.rows
        row, slots = np.where(is_online, 0, numbers), self.slots(seed, numbers[is_online] - self.rows)
        actions, states = [], []
        for table, which, slot in ((self._here, "", slots[:, 0]), (self._following, "next_", slots[:, -1])):
            number = table[row]
            found = np.asarray(proposals.actions[number])
            found[is_online] = online[f"{which}proposals"][seed, slot]
            number[is_online] = online[f"{which}number"][seed, slot]
            actions.append(found)
            states.append(number)
        places = np.broadcast_to(np.arange(2 * size, dtype=np.int32), (updates, 2 * size))
        key = jnp.broadcast_to(proposals.key, (updates,))
        return BatchProposals(
            np.concatenate(actions, axis=1), key, places[:, :size], states[0], places[:, size:], states[1]
        )


def _check_seeds(agent: Agent, seeds: int | None) -> None:
    """Raises a `ValueError` for another number of seeds than the agent's arrays have."""
    arrays = jax.tree.leaves(eqx.filter(agent, eqx.is_array))
    fits = seeds is None or all(leaf.ndim > 0 and leaf.shape[0] == seeds for leaf in arrays)
    if fits:
        observation = jnp.zeros(agent.spec.observation_shape, agent.spec.observation_dtype)
        try:
            eqx.filter_eval_shape(_seed(agent, 0, seeds).act, observation, key=jax.random.key(0))
        except (TypeError, ValueError):  # an axis that no part expects
            fits = False
    if not fits:
        raise ValueError(
            f"The agent's arrays do not have the axis of seeds={seeds}: give learner.agent with seeds=learner.seeds."
        )


def proposals_bytes(count: int, action_size: int, *, states: int, online: int) -> int:
    """Bytes of `count` proposals for each of so many states, and of what so many online transitions have more of."""
    return 4 * states * count * action_size + online * extras_bytes(proposed_columns(count, action_size))


def proposed_columns(count: int, action_size: int) -> Extras:
    """What a transition has more of, with K = `count` proposals for s and for s', and the numbers of these states."""
    actions, number = ((count, action_size), "float32"), ((), "int32")
    return {"proposals": actions, "next_proposals": actions, "number": number, "next_number": number}


_solve_together = eqx.filter_jit(eqx.filter_vmap(solve, in_axes=(eqx.if_array(0), 0, None, None, 0)))


def _seed(agent: Agent, seed: int, seeds: int | None) -> Agent:
    return agent if seeds is None else jax.tree.map(lambda leaf: leaf[seed] if eqx.is_array(leaf) else leaf, agent)
