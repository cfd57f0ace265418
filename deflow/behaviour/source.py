"""What training draws from, where it needs no solve: transitions, and their states' proposals."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from ..agent import Agent
from ..frames import to_device
from ..replay import AbstractSource
from ..replay.divided import AbstractDividedRows
from ..replay.images import as_batch
from ..replay.placement import Location
from ..replay.sampling import AbstractMixture, Drawn, choose, dataset_rows, drawn_rows
from ..types import Batch, BatchProposals
from .proposals import Proposals
from .states import States

Keys = Callable[[int, int], Key[Array, " updates *seeds"]]
"""The keys of the batches of some updates: how many were made before them, and how many they are."""

Place = Callable[[AbstractSource], AbstractSource]
"""Puts a source that lies on the host where training needs it."""

Divide = Callable[..., Any]
"""Divides rows on the host among devices; `own`: their first axis is for seeds, each of which has its own."""

Sources = Callable[[int, int], AbstractSource]
"""The source of these updates."""


class ProposedDataset(AbstractSource):
    """N transitions, drawn uniformly with replacement, and the proposals of all M states."""

    data: Batch | AbstractDividedRows
    here: Int[Array | np.ndarray, " transitions"]
    following: Int[Array | np.ndarray, " transitions"]
    actions: Float[Array | np.ndarray, "*seeds states proposals action"] | AbstractDividedRows
    key: Key[Array, "*seeds"]

    def sample(self, size: int, index: Int[Array, ""], *, key: Key[Array, ""]) -> Batch:
        rows = dataset_rows(size, len(self.data), key=key)
        here, following = self.here[rows], self.following[rows]
        actions, place, next_place = self.actions, here, following
        if isinstance(actions, AbstractDividedRows):  # a table of those that the batch needs
            actions = actions[jnp.concatenate([here, following])]
            place, next_place = jnp.arange(size), size + jnp.arange(size)
        proposals = BatchProposals(actions, self.key, place, here, next_place, following)
        return dataclasses.replace(self.data[rows].stacked(), proposals=proposals)

    @property
    def axes(self) -> "ProposedDataset":
        """All seeds share the data; the proposals have an axis for seeds if each has its own."""
        own = 0 if self.key.ndim else None
        return ProposedDataset(None, None, None, own, own)  # pyright: ignore[reportArgumentType]


class ProposedMixture(AbstractSource):
    """The dataset and online transitions, and the proposals of both, on the device."""

    transitions: AbstractMixture
    here: Int[Array, " transitions"]
    following: Int[Array, " transitions"]
    actions: Float[Array, "*seeds states proposals action"]
    key: Key[Array, "*seeds"]

    def sample(self, size: int, index: Int[Array, ""], *, key: Key[Array, ""]) -> Batch:
        drawn = self.transitions.numbers(size, key=key)
        is_online, row, first, last = self.transitions.places(drawn)
        online, places = as_batch(self.transitions.online).extras, jnp.arange(size)
        number = choose(is_online, jnp.asarray(online["number"])[first], self.here[row])
        following = choose(is_online, jnp.asarray(online["next_number"])[last], self.following[row])
        actions = [
            choose(is_online, jnp.asarray(online["proposals"])[first], self.actions[self.here[row]]),
            choose(is_online, jnp.asarray(online["next_proposals"])[last], self.actions[self.following[row]]),
        ]
        proposals = BatchProposals(jnp.concatenate(actions), self.key, places, number, size + places, following)
        return dataclasses.replace(self.transitions.rows(drawn), proposals=proposals)

    @property
    def axes(self) -> "ProposedMixture":
        """Each seed has its own online transitions; the dataset's proposals have an axis if each has its own."""
        own = 0 if self.key.ndim else None
        return ProposedMixture(self.transitions.axes, None, None, own, own)  # pyright: ignore[reportArgumentType]


def _on_device(source: AbstractSource) -> AbstractSource:
    return to_device(source)


def proposal_source(
    agent: Agent,
    states: States,
    proposals: Sequence[Proposals],
    *,
    batch_size: int,
    keys: Keys,
    placement: Location = "device",
    place: Place = _on_device,
    divide: Divide = lambda rows, *, own: rows,
) -> Sources:
    """What trains `agent` on the states' data from these proposals, one for each seed, or one that all share.

    They lie with the data where `placement` says. On the host the same ones are drawn, and each dispatch is sent what
    its batches need. `place` puts a source where training needs it; if rows are divided, `divide` says how.
    """
    data = states.data
    first, last = agent.rows(data)
    here, following = states.here[first], states.following[last]
    transitions = agent.with_returns(data)
    if placement == "host":
        drawn = partial(_drawn_on_host, transitions, here, following, tuple(proposals), batch_size)
        return lambda *updates: place(Drawn(drawn(keys(*updates))))
    columns = transitions.columns
    tables, noises = [proposed.actions for proposed in proposals], [proposed.key for proposed in proposals]
    actions, key = (tables[0], noises[0]) if len(proposals) == 1 else (np.stack(tables), jnp.stack(noises))
    if placement == "divided":
        columns, actions = divide(columns, own=False), divide(actions, own=len(proposals) > 1)
    source = place(ProposedDataset(columns, here, following, actions, key))
    return lambda *_: source


def _drawn_on_host(
    data: Batch,
    here: np.ndarray,
    following: np.ndarray,
    proposals: tuple[Proposals, ...],
    size: int,
    keys: Key[Array, " updates *seeds"],
) -> Batch:
    """The batches of updates, with leading axes (updates, size), or (seeds, updates, size)."""
    rows = np.asarray(drawn_rows(size, len(data), keys))
    if keys.ndim == 1:
        return _gathered(data, here, following, proposals[0], rows)
    seeds = [
        _gathered(data, here, following, proposals[seed % len(proposals)], rows[:, seed])
        for seed in range(keys.shape[1])
    ]
    return jax.tree.map(stacked, *seeds)


def _gathered(data: Batch, here: np.ndarray, following: np.ndarray, proposals: Proposals, rows: np.ndarray) -> Batch:
    updates, size = rows.shape
    numbers = np.concatenate([here[rows], following[rows]], axis=1)  # (updates, 2 size)
    places = np.broadcast_to(np.arange(2 * size, dtype=np.int32), numbers.shape)
    key = jnp.broadcast_to(proposals.key, (updates,))
    columns = Batch(data.observation, data.action, data.reward, data.mask, data.next_observation)[rows].stacked()
    return dataclasses.replace(
        columns,
        proposals=BatchProposals(
            np.asarray(proposals.actions[numbers]),
            key,
            places[:, :size],
            numbers[:, :size],
            places[:, size:],
            numbers[:, size:],
        ),
    )


def stacked(*leaves: Any) -> Any:
    """Arrays with a first axis for seeds, on the device where they were."""
    return jnp.stack(leaves) if eqx.is_array(leaves[0]) and isinstance(leaves[0], jax.Array) else np.stack(leaves)
