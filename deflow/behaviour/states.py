"""The states of a dataset, each once: s' of a transition is s of the next one, except where a trajectory ends."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..frames import Frames
from ..types import Batch

BLOCK = 1 << 26
"""Bytes that are looked at together, so that a large dataset is never copied as a whole."""


@dataclasses.dataclass(frozen=True)
class States:
    """The numbering of a dataset's M states in the order of its N transitions."""

    data: Batch
    """The transitions, in their original order (NumPy arrays)."""

    here: np.ndarray
    """Number of each transition's s, int32 of shape (N,)."""

    following: np.ndarray
    """Number of each transition's s', int32 of shape (N,)."""

    @classmethod
    def of(cls, data: Batch) -> "States":
        """Numbers the states. Two are one state where s' of a transition has the very entries of the next one's s.

        Raises:
            ValueError: If there is no transition.
        """
        if len(data) == 0:
            raise ValueError("The dataset is empty: give at least one transition.")
        ends = np.ones(len(data), bool)
        size = _rows_of(data)
        for start in range(0, len(data) - 1, size):
            stop = min(start + size, len(data) - 1)
            after, ahead = data.next_observation[start:stop], data.observation[start + 1 : stop + 1]
            ends[start:stop] = _differ(after, ahead)
        here = (np.arange(len(data)) + np.cumsum(ends) - ends).astype(np.int32)
        return cls(data, here, here + np.int32(1))

    def __len__(self) -> int:
        return int(self.following[-1]) + 1

    def observations(self, start: int, stop: int) -> np.ndarray:
        """The observations of states `start` to `stop`, of shape (stop - start, *observation)."""
        numbers = np.arange(start, stop)
        row = np.searchsorted(self.here, numbers, side="right") - 1
        found = np.asarray(self.data.observation[row]).copy()
        last = self.here[row] != numbers  # the state in which a trajectory ends
        found[last] = self.data.next_observation[row[last]]
        return found

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all observations and their order, as 64 hexadecimal digits. Rewards and actions do not count, so
        that the tasks of one environment share it."""
        found = hashlib.sha256(f"{len(self)} {self.data.observation.shape[1:]} {self.data.observation.dtype}".encode())
        for block in self._blocks():
            found.update(np.ascontiguousarray(block).data)
        return found.hexdigest()

    def _blocks(self) -> Iterator[np.ndarray]:
        size = _rows_of(self.data)
        for start in range(0, len(self), size):
            yield self.observations(start, min(start + size, len(self)))


def _rows_of(data: Batch) -> int:
    """Rows of a block."""
    return max(1, BLOCK // math.prod(data.observation.shape[1:], start=data.observation.dtype.itemsize))


def _differ(one: Any, other: Any) -> np.ndarray:
    """Which observations differ, shape (B,). Frames do where they are others, whatever is on them."""
    if isinstance(one, Frames) and isinstance(other, Frames):
        return np.any(np.asarray(one.numbers) != other.numbers, axis=-1)
    return np.any((np.asarray(one) != np.asarray(other)).reshape(len(one), -1), axis=1)
