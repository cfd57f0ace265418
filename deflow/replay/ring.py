"""The ring of online transitions on the host: allocated once, written in place, the oldest overwritten."""

from collections.abc import Mapping

import jax
import numpy as np

from ..types import Batch, Spec

COLUMNS = ("observation", "action", "reward", "mask", "next_observation")
"""The columns that losses read."""

Extras = Mapping[str, tuple[tuple[int, ...], str]]
"""Further columns: the shape and the type of one entry, by name."""


class Ring:
    """`slots` transitions for each of S seeds, as NumPy arrays with leading axes (S, slots)."""

    def __init__(self, spec: Spec, *, seeds: int, slots: int, extras: Extras | None = None):
        self.rows = blank_rows((seeds, slots), spec, extras or {})
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
        for column, new in _pairs(self.rows, transitions):
            column[:, places] = new
        self.inserted += len(places)
        return places

    def state(self, seed: int) -> Batch:
        """The filled slots of one seed: arrays (filled, ...), copied."""
        return jax.tree.map(lambda column: column[seed, : self.filled].copy(), self.rows)

    def restore(self, states: list[Batch], inserted: int) -> None:
        """Restore what `state` returned for each seed."""
        self.inserted = inserted
        for seed, state in enumerate(states):
            for column, saved in _pairs(self.rows, state):
                column[seed, : self.filled] = saved


def blank_rows(lead: tuple[int, ...], spec: Spec, extras: Extras) -> Batch:
    """Transitions of zeros with these leading axes."""
    observation = (*lead, *spec.observation_shape)
    return Batch(
        observation=np.zeros(observation, spec.observation_dtype),
        action=np.zeros((*lead, spec.action_size), np.float32),
        reward=np.zeros(lead, np.float32),
        mask=np.zeros(lead, np.float32),
        next_observation=np.zeros(observation, spec.observation_dtype),
        extras={name: np.zeros((*lead, *shape), dtype) for name, (shape, dtype) in extras.items()},
    )


def _pairs(rows: Batch, others: Batch) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each column of the ring, and the same column of other transitions, which may have more."""
    named = [(getattr(rows, name), getattr(others, name)) for name in COLUMNS]
    return named + [(column, others.extras[name]) for name, column in rows.extras.items()]
