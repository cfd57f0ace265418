"""The devices of a training: what was asked for, and what it comes to."""

import os
from typing import Any

import jax

from .. import hosts
from ..agent import Agent
from ..data import Task
from ..replay import written_bytes
from ..training import Devices
from ..training.dataset import locate
from .screen import bytes_in_words


def devices_of(options: Any) -> Devices:
    """How many devices the seeds or the batches of a training are divided among.

    Raises:
        ValueError: If there are not as many, if they do not divide a batch, or if both are to be divided.
    """
    return Devices(*_asked(options).used(len(options.seeds), options.batch_size))


def devices_in_words(options: Any) -> str:
    """Which devices there are, how many of them are used, and what is on each."""
    asked, seeds, batch_size = _asked(options), len(options.seeds), options.batch_size
    first, there = jax.devices()[0], jax.device_count()
    for_seeds, for_batch = asked.used(seeds, batch_size)
    number = "" if there == 1 else f"{max(for_seeds, for_batch)} of {there} x "
    processes = f" in {hosts.count()} processes" if hosts.count() > 1 else ""
    lines = [f"{number}{first.device_kind} ({first.platform}){processes}, {os.cpu_count()} cores"]
    if for_seeds > 1:
        lines.append(f"{seeds // for_seeds} of {seeds} seeds on each")
    if for_batch > 1:
        lines.append(f"{batch_size // for_batch} of a batch's {batch_size} transitions on each, a copy of the networks")
    return "\n".join(filter(None, [*lines, asked.remainder(seeds)]))


def dataset_facts(options: Any, agent: Agent, task: Task, *, states: int, tables: int) -> dict[str, str]:
    """The line that says where the dataset lies, unless it is simply on the one device. `states` and `tables` are those
    of its proposals, if there are any."""
    layout = devices_of(options).layout(len(options.seeds), options.batch_size)
    proposals = {"proposals": options.proposals, "states": states, "tables": tables} if states else {}
    found = locate(layout, agent, task.train, **proposals)
    if found.devices == 1 and found.location == "device":
        return {}
    if found.location != "host":
        return {"dataset": f"{found}"}
    moved = bytes_in_words(len(options.seeds) * written_bytes(agent.spec, options.batch_size))
    devices = f"device{'s' * (found.devices > 1)}"
    return {"dataset": f"{found}, since it does not fit on the {devices}: an update moves {moved} there"}


def _asked(options: Any) -> Devices:
    """The devices asked for. A run that is continued may have begun where there were more: it takes those that are."""

    def at_hand(number: Any) -> Any:
        most = jax.device_count()
        return min(number, most) if isinstance(number, int) and options.resume is not None else number

    return Devices(seeds=at_hand(options.seed_devices), batch=at_hand(options.batch_devices))
