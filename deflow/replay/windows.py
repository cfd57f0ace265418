"""Windows of the ring: h consecutive transitions of one episode, drawn as one (Q-chunking, arXiv 2507.07969)."""

import dataclasses

import numpy as np
from jaxtyping import Array, Int

from ..types import Batch
from .ring import Extras, Ring

WINDOW_COLUMNS: Extras = {"steps": ((), "int32"), "trajectory_end": ((), "float32")}
"""What a transition of a ring with windows has more of: the transitions of its trajectory so far, itself included, and
whether it is the last one."""


@dataclasses.dataclass(frozen=True)
class Chunks:
    """How single transitions become those of an agent: `Chunks(agent.chunk, agent.discount, environments=E)`."""

    length: int = 1
    """Steps of a chunk, h. With 1 there are no windows."""

    discount: float = 1.0
    """Discount factor per step."""

    environments: int = 1
    """Environments of each seed, whose transitions take turns in the ring."""

    def __post_init__(self) -> None:
        if self.length < 1 or self.environments < 1:
            raise ValueError(
                f"Chunks: length and environments must be at least 1, got {self.length} and {self.environments}."
            )


class Windows:
    """The windows of a ring, in the order of their first transitions.

    A window is complete with its last transition and lost with its first, and both happen in that order. So the slots
    in which windows start are a ring of their own. Windows that would run beyond an episode's end never complete, and
    none reaches across the place where the ring is written.
    """

    def __init__(self, ring: Ring, chunks: Chunks):
        self._ring, self.chunks = ring, chunks
        self.starts = np.zeros((len(ring.rows.reward), ring.slots), np.int32)
        """The slots in which windows start, shape (S, slots): that of a seed's window number n is at n % slots."""
        self.completed = np.zeros(len(self.starts), np.int64)
        """Number of windows completed so far, per seed."""
        self.lost = np.zeros(len(self.starts), np.int64)
        """Number of windows of which the first transition has been overwritten, per seed."""

    @property
    def filled(self) -> np.ndarray:
        """Number of windows that can be drawn, int32 of shape (S,)."""
        return (self.completed - self.lost).astype(np.int32)

    @property
    def oldest(self) -> np.ndarray:
        """Place of the oldest one in `starts`, int32 of shape (S,)."""
        return (self.lost % self._ring.slots).astype(np.int32)

    def counted(self, transitions: Batch) -> Batch:
        """New transitions (S, E), before they are inserted, with the number of their trajectory's transitions so far.

        A transition goes on with its environment's last one if that did not end the episode and led to this one's
        state: where environments were restarted in between, it did not.
        """
        environments, ring = transitions.reward.shape[1], self._ring
        if environments != self.chunks.environments:
            raise ValueError(
                f"The replay was made for {self.chunks.environments} environment(s) of each seed, and these are "
                f"transitions of {environments}: make it with Chunks(..., environments={environments})."
            )
        before = ring.before(environments).extras
        goes_on = ring.continues(transitions) & (before["trajectory_end"] == 0)
        steps = np.where(goes_on, before["steps"] + 1, 1).astype(np.int32)
        return dataclasses.replace(transitions, extras={**transitions.extras, "steps": steps})

    def add(self, places: np.ndarray) -> tuple[Int[np.ndarray, "seeds new"], Int[np.ndarray, " new"]]:
        """Note the transitions that were just inserted in these slots: the windows that they complete, and those that
        are lost with what they overwrote.

        Returns the places in `starts` that were written (the number of slots where no window is complete), and the
        slots that were written there.
        """
        ring, environments = self._ring, self.chunks.environments
        back = (self.chunks.length - 1) * environments
        firsts = (places - back) % ring.slots
        kept = ring.inserted - len(places) + np.arange(len(places)) - back >= ring.inserted - ring.filled
        complete = (ring.rows.extras["steps"][:, places] >= self.chunks.length) & kept
        written = np.full(complete.shape, ring.slots, np.int32)
        for seed, own in enumerate(complete):
            while self.lost[seed] < self.completed[seed] and self.starts[seed, self.oldest[seed]] in places:
                self.lost[seed] += 1
            count = int(own.sum())
            written[seed, own] = (self.completed[seed] + np.arange(count)) % ring.slots
            self.starts[seed, written[seed, own]] = firsts[own]
            self.completed[seed] += count
        return written, firsts.astype(np.int32)

    def restore(self) -> None:
        """Find the windows of a ring that was restored."""
        ring, environments = self._ring, self.chunks.environments
        oldest = ring.inserted - ring.filled
        numbers = np.arange(oldest, ring.inserted)
        firsts = numbers - (self.chunks.length - 1) * environments
        steps = ring.rows.extras["steps"][:, numbers % ring.slots]
        self.lost[:] = 0
        for seed, own in enumerate((steps >= self.chunks.length) & (firsts >= oldest)):
            self.completed[seed] = own.sum()
            self.starts[seed, : own.sum()] = firsts[own] % ring.slots

    def slots(self, seed: int, entries: np.ndarray) -> Int[np.ndarray, "windows steps"]:
        """The slots of a seed's windows, the oldest of which has the number 0."""
        first = self.starts[seed, (self.lost[seed] + entries) % self._ring.slots]
        return np.asarray(window_slots(first, self._ring.slots, self.chunks))


def window_slots(
    first: Int[Array | np.ndarray, " windows"], slots: int, chunks: Chunks
) -> Int[Array | np.ndarray, "windows steps"]:
    """The slots of windows, given those in which they start."""
    return (first[:, None] + chunks.environments * np.arange(chunks.length, dtype=np.int32)[None]) % slots
