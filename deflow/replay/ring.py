"""The ring of online transitions on the host: allocated once, written in place, the oldest overwritten."""

import numpy as np

from ..types import Batch, Spec

COLUMNS = ("observation", "action", "reward", "mask", "next_observation")
"""The columns that losses read."""


class Ring:
    """`slots` transitions for each of S seeds, as NumPy arrays with leading axes (S, slots)."""

    def __init__(self, spec: Spec, *, seeds: int, slots: int):
        lead = (seeds, slots)
        observation = (*lead, *spec.observation_shape)
        self.rows = Batch(
            observation=np.zeros(observation, spec.observation_dtype),
            action=np.zeros((*lead, spec.action_size), np.float32),
            reward=np.zeros(lead, np.float32),
            mask=np.zeros(lead, np.float32),
            next_observation=np.zeros(observation, spec.observation_dtype),
        )
        self.slots = slots
        self.inserted = 0
        """Transitions inserted so far per seed, including those overwritten since."""

    @property
    def filled(self) -> int:
        """Number of filled slots, which are the first ones."""
        return min(self.inserted, self.slots)

    def places(self, count: int, *, after: int | None = None) -> np.ndarray:
        """The slots, shape (count,), of the next `count` transitions (after the first `after`)."""
        start = self.inserted if after is None else after
        return (start + np.arange(count)) % self.slots

    def insert(self, transitions: Batch) -> np.ndarray:
        """Write `transitions`, leading axes (S, E), and return their slots."""
        places = self.places(transitions.reward.shape[1])
        for name in COLUMNS:
            getattr(self.rows, name)[:, places] = getattr(transitions, name)
        self.inserted += len(places)
        return places

    def state(self, seed: int) -> Batch:
        """The filled slots of one seed: arrays (filled, ...), copied."""
        return Batch(**{name: getattr(self.rows, name)[seed, : self.filled].copy() for name in COLUMNS})

    def restore(self, states: list[Batch], inserted: int) -> None:
        """Restore what `state` returned for each seed."""
        self.inserted = inserted
        for name in COLUMNS:
            for seed, state in enumerate(states):
                getattr(self.rows, name)[seed, : self.filled] = getattr(state, name)
