"""The states of a dataset, each once: s' of a transition is s of the next one, except where a trajectory ends."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterator

import numpy as np

from ..types import Batch

BLOCK = 1 << 16
"""Rows that are looked at together, so that a large dataset is never copied as a whole."""


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
        for start in range(0, len(data) - 1, BLOCK):
            stop = min(start + BLOCK, len(data) - 1)
            after, ahead = data.next_observation[start:stop], data.observation[start + 1 : stop + 1]
            ends[start:stop] = np.any((np.asarray(after) != np.asarray(ahead)).reshape(stop - start, -1), axis=1)
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
        for start in range(0, len(self), BLOCK):
            yield self.observations(start, min(start + BLOCK, len(self)))
