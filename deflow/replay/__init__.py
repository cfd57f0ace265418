"""Replay: the dataset and what the environments gave since, and how batches are drawn from both."""

from .replay import DeviceReplay, HostReplay, Placement, Replay, choose_placement, make_replay, replay_bytes
from .sources import AbstractSource, Dataset, Sampling

__all__ = [
    "AbstractSource",
    "Dataset",
    "DeviceReplay",
    "HostReplay",
    "Placement",
    "Replay",
    "Sampling",
    "choose_placement",
    "make_replay",
    "replay_bytes",
]
