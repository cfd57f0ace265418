"""Where an offline training's dataset lies: on each device as a copy, divided among all of them, or on the host."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import jax.numpy as jnp
from jaxtyping import Array, Key

from .. import hosts
from ..agent import Agent
from ..behaviour import Proposals, States, proposal_source
from ..behaviour.replay import proposals_bytes
from ..behaviour.source import Sources
from ..frames import Frames
from ..replay import Dataset, Location, chunk_bytes, dataset_bytes, where_it_fits, written_bytes
from ..replay.sampling import drawn_on_host
from ..types import Batch
from .layouts import AbstractLayout
from .updates import batch_keys

DatasetPlacement = Literal["auto", "device", "divided", "host"]
"""device: on the device, of several a copy on each; divided: each of several has a share of the rows (one has all of
them); auto: the first of device, divided and host where it fits."""


@dataclasses.dataclass(frozen=True)
class Located:
    """Where a dataset and its proposals lie, if there are any."""

    location: Location
    """On each device as a copy, divided among the devices, or on the host."""

    devices: int
    """Number of devices."""

    size: int
    """Bytes on each device, or on the host."""

    def __str__(self) -> str:
        large, small = f"{self.size / 1e9:,.2f} GB", f"{self.size / 1e6:,.1f} MB"
        size = large if self.size >= 1e8 else small if self.size >= 1e5 else "less than 0.1 MB"
        if self.location == "host":
            return f"on the host, {size}"
        if self.location == "divided":
            return f"divided among {self.devices} devices, {size} on each"
        return f"a copy on each of {self.devices} devices, {size}" if self.devices > 1 else f"on the device, {size}"


def locate(
    layout: AbstractLayout,
    agent: Agent,
    data: Batch,
    *,
    proposals: int = 0,
    states: int = 0,
    tables: int = 1,
    placement: DatasetPlacement = "auto",
) -> Located:
    """Where a dataset lies with K = `proposals` for each of M = `states`: one table of them that all seeds share, or as
    many as there are seeds."""
    rows = len(agent.rows(data)[0])
    is_stored_once = isinstance(data.observation, Frames)  # and rows are numbers of frames, which are read as a whole
    shared = dataset_bytes(data, agent.spec) if is_stored_once else written_bytes(agent.spec, rows)
    shared += chunk_bytes(rows, agent.spec, agent.chunk)
    table = proposals_bytes(proposals, agent.action_size, states=states, online=0)
    own = tables * table if tables > 1 else 0
    shared += 0 if tables > 1 else table
    each = {
        "device": shared + layout.own_bytes(own),
        "divided": -(-(shared + own) // layout.devices),
        "host": shared + own,
    }
    if placement == "auto":
        fits = where_it_fits(each["device"], each["device"] if is_stored_once else each["divided"])
        # Of several processes, another may have less memory.
        every: list[Location] = hosts.gathered(fits) if layout.of_several_processes else [fits]
        found: Location = max(every, key=lambda each: get_args(Location).index(each))
    else:
        found = placement
    if layout.devices == 1 and found == "divided":
        found = "device"
    if found == "divided" and is_stored_once:
        raise ValueError("Frames that are stored once are not divided among devices: choose another placement.")
    return Located(found, layout.devices, each[found])


def offline_sources(
    agent: Agent,
    data: Batch,
    proposals: tuple[States, Sequence[Proposals]] | None,
    *,
    layout: AbstractLayout,
    placement: DatasetPlacement,
    batch_size: int,
    key: Key[Array, "*seeds"],
) -> Sources:
    """What each dispatch draws from: the dataset, with or without proposals for its states."""

    def keys(made: int, count: int) -> Key[Array, " updates *seeds"]:
        return batch_keys(key, jnp.arange(made, made + count))

    if proposals is not None:
        states, given = proposals
        numbers = {"proposals": given[0].count, "states": len(states), "tables": len(given)}
        location = locate(layout, agent, data, **numbers, placement=placement).location
        where = {"placement": location, "place": layout.source, "divide": layout.divide}
        return proposal_source(agent, states, given, batch_size=batch_size, keys=keys, **where)
    location = locate(layout, agent, data, placement=placement).location
    columns = agent.with_returns(data).columns
    if location == "host":
        return lambda *updates: layout.source(drawn_on_host(columns, batch_size, keys(*updates)))
    source = layout.source(Dataset(layout.divide(columns) if location == "divided" else columns))
    return lambda *_: source
