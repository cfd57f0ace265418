"""Where transitions are stored: on the device if they fit, otherwise on the host."""

import math
from typing import Literal

import jax
import numpy as np

from ..frames import Frames
from ..memory import available_memory
from ..types import Batch, Spec, check_number
from .base import AbstractReplay
from .device import DeviceReplay
from .host import HostReplay
from .images import has_images, room_for
from .ring import Extras
from .sampling import Sampling
from .windows import Chunks

Placement = Literal["auto", "device", "host"]
"""auto: on the device if they fit."""

Location = Literal["device", "divided", "host"]
"""Where transitions lie: on the device, of several a copy on each; divided among several; or on the host."""

SHARE = 0.6
"""Fraction of a device's free memory that transitions may take; the rest is for training."""


def make_replay(
    dataset: Batch,
    spec: Spec,
    *,
    seeds: int | None = None,
    steps: int,
    capacity: int = 2_000_000,
    sampling: Sampling = "uniform",
    placement: Placement = "auto",
    chunks: Chunks = Chunks(),
    extras: Extras | None = None,
) -> AbstractReplay:
    """A replay for at most `steps` online transitions per seed; on the device if it fits, or as `placement` says.

    For an agent with chunks, `chunks` says what its transitions are made of: the dataset has been through
    `agent.with_returns`, and online ones are cut when they are drawn. `extras` are further columns of the online
    transitions, which `insert` expects.

    Raises:
        ValueError: If the capacity is smaller than the dataset, or than a chunk of every environment; if the dataset's
            actions are not those of chunks.
    """
    check_number("make_replay", "sampling", sampling, Sampling)
    check_number("make_replay", "placement", placement, Placement)
    check_capacity(len(dataset), capacity, sampling, chunks)
    if capacity < 1 or steps < 1:
        raise ValueError(f"capacity and steps must be at least 1, got {capacity} and {steps}.")
    if dataset.action.shape[-1] != chunks.length * spec.action_size:
        raise ValueError(
            f"Actions must have {chunks.length} x {spec.action_size} numbers (chunk x action size), and the dataset's "
            f"have {dataset.action.shape[-1]}: give agent.with_returns(task.train), and "
            "chunks=deflow.replay.Chunks(agent.chunk, agent.discount)."
        )
    slots = min(max(steps, chunks.environments), capacity)
    if placement == "auto":
        online = slots * (seeds or 1)
        needed = dataset_bytes(dataset, spec) + chunk_bytes(len(dataset), spec, chunks.length)
        placement = choose_placement(needed + replay_bytes(spec, online) + online * extras_bytes(extras))
    more = {"chunks": chunks, "extras": extras}
    kind = DeviceReplay if placement == "device" else HostReplay
    return kind(dataset, spec, seeds=seeds, slots=slots, capacity=capacity, sampling=sampling, **more)


def check_capacity(rows: int, capacity: int, sampling: Sampling, chunks: Chunks = Chunks()) -> None:
    """Check the capacity of a ring that starts with a dataset of this many rows.

    Raises:
        ValueError: If it is smaller than the dataset, or than a chunk of every environment.
    """
    if 0 < capacity < chunks.length * chunks.environments:
        what = f"a chunk of {chunks.length}" if chunks.length > 1 else "a transition"
        raise ValueError(
            f"A ring of {capacity} transitions has no room for {what} in each of {chunks.environments} "
            "environment(s): raise the capacity."
        )
    if sampling == "uniform" and capacity < rows:
        raise ValueError(
            f"The replay's capacity of {capacity:,} transitions is smaller than the dataset's {rows:,}: raise it, or "
            "use balanced sampling, which keeps the dataset separate."
        )


def replay_bytes(spec: Spec, transitions: int) -> int:
    """Bytes that this many online transitions take; of images, each counts once."""
    if not has_images(spec):
        return written_bytes(spec, transitions)
    numbers = 4 * (2 * spec.frame_stack + spec.action_size + 2)
    return room_for(transitions) * math.prod(spec.frame_shape) + transitions * numbers


def written_bytes(spec: Spec, transitions: int) -> int:
    """Bytes that this many transitions take with s and s' written out."""
    observation = spec.observation_size * np.dtype(spec.observation_dtype).itemsize
    return transitions * (2 * observation + 4 * (spec.action_size + 2))


def dataset_bytes(data: Batch, spec: Spec) -> int:
    """Bytes that a dataset of single steps takes; of images, each counts once."""
    if not (isinstance(data.observation, Frames) and isinstance(data.next_observation, Frames)):
        return written_bytes(spec, len(data))
    columns = data.observation, data.next_observation.numbers, data.action, data.reward, data.mask
    return sum(column.nbytes for column in jax.tree.leaves(columns))


def extras_bytes(extras: Extras | None) -> int:
    """Bytes that one transition's further columns take."""
    return sum(math.prod(shape) * np.dtype(kind).itemsize for shape, kind in (extras or {}).values())


def chunk_bytes(rows: int, spec: Spec, length: int) -> int:
    """Bytes that the dataset's actions take more in chunks of this length."""
    return 4 * rows * (length - 1) * spec.action_size


def choose_placement(needed: int) -> Literal["device", "host"]:
    """Where so many bytes fit."""
    return "device" if _fits(needed) else "host"


def where_it_fits(copied: int, divided: int) -> Location:
    """Where data fit that take so many bytes on each device: if each has a copy, or if they are divided."""
    return "device" if _fits(copied) else "divided" if divided < copied and _fits(divided) else "host"


def _fits(needed: int) -> bool:
    free = free_memory()
    return free is None or needed < SHARE * free


def free_memory() -> int | None:
    """Free bytes on a device of this process, if that is known."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    if jax.default_backend() != "cpu":
        return None
    free = available_memory()
    return None if free is None else free // jax.local_device_count()  # which share it
