"""Replay: the dataset and the online transitions, and how batches are drawn from both."""

from .base import AbstractReplay
from .device import DeviceReplay
from .host import HostReplay
from .placement import (
    Location,
    Placement,
    check_capacity,
    choose_placement,
    chunk_bytes,
    dataset_bytes,
    extras_bytes,
    free_memory,
    make_replay,
    replay_bytes,
    where_it_fits,
    written_bytes,
)
from .sampling import AbstractSource, Dataset, Sampling
from .windows import Chunks

__all__ = [
    "AbstractReplay",
    "AbstractSource",
    "Chunks",
    "Dataset",
    "DeviceReplay",
    "HostReplay",
    "Location",
    "Placement",
    "Sampling",
    "check_capacity",
    "choose_placement",
    "chunk_bytes",
    "dataset_bytes",
    "extras_bytes",
    "free_memory",
    "make_replay",
    "replay_bytes",
    "where_it_fits",
    "written_bytes",
]
