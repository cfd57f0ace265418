"""The ring of online transitions on the host: allocated once, written in place, the oldest overwritten."""

import dataclasses
from collections.abc import Mapping
from typing import cast

import jax
import numpy as np
from jaxtyping import Bool

from ..frames import Frames
from ..types import Batch, Spec
from .images import ImageStore, ImageTransitions, Transitions, has_images

COLUMNS = ("observation", "action", "reward", "mask", "next_observation")
"""The columns that losses read."""

Extras = Mapping[str, tuple[tuple[int, ...], str]]
"""Further columns: the shape and the type of one entry, by name."""


class Ring:
    """`slots` transitions for each of S seeds, as NumPy arrays with leading axes (S, slots)."""

    def __init__(self, spec: Spec, *, seeds: int, slots: int, extras: Extras | None = None):
        self.rows = blank_rows((seeds, slots), spec, extras or {})
        """The transitions; of images, with their numbers in the store for observations."""
        self.store = ImageStore(spec, seeds=seeds, slots=slots) if has_images(spec) else None
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

    @property
    def transitions(self) -> Transitions:
        """Everything, with leading axes (S, slots)."""
        return self.rows if self.store is None else ImageTransitions(self.rows, self.store.images)

    def before(self, environments: int) -> Batch:
        """The last row (S, E) of each environment; anything, where `continues` is false."""
        return self.rows[:, self.places(environments, after=self.inserted - environments)]

    def continues(self, transitions: Batch) -> Bool[np.ndarray, "seeds environments"]:
        """Whether s of new transitions (S, E) is the state that their environment's last one led to.

        It is not where an episode ended, or where environments were restarted."""
        seeds, environments = transitions.reward.shape
        led_to = np.asarray(self.before(environments).next_observation)
        if self.store is not None:
            of_seeds = zip(self.store.images, led_to, strict=True)
            led_to = np.stack([np.asarray(Frames(images, numbers)) for images, numbers in of_seeds])
        differs = (led_to != np.asarray(transitions.observation)).reshape(seeds, environments, -1).any(-1)
        return ~differs & (self.inserted >= environments)

    def insert(self, transitions: Batch) -> tuple[Batch, np.ndarray]:
        """Write `transitions`, leading axes (S, E). Returns them as they are stored, and their slots.

        Raises:
            ValueError: If there are fewer slots than environments.
        """
        environments = transitions.reward.shape[1]
        if environments > self.slots:
            raise ValueError(
                f"A ring of {self.slots} online transition(s) has no room for one of each of {environments} "
                "environments: raise the steps and the capacity to at least their number."
            )
        places = self.places(environments)
        if self.store is not None:
            transitions = self._numbered(transitions, places)
        for column, new in _pairs(self.rows, transitions):
            column[:, places] = new
        self.inserted += len(places)
        return transitions, places

    def state(self, seed: int) -> Transitions:
        """The filled slots of one seed: arrays (filled, ...), copied; of images, those that are needed."""
        rows = jax.tree.map(lambda column: column[seed, : self.filled].copy(), self.rows)
        if self.store is None:
            return rows
        images, (here, following) = self.store.state(seed, *_seen(rows))
        return ImageTransitions(dataclasses.replace(rows, observation=here, next_observation=following), images)

    def restore(self, states: list[Transitions], inserted: int) -> None:
        """Restore what `state` returned for each seed."""
        self.inserted = inserted
        for seed, state in enumerate(states):
            rows = state
            if isinstance(state, ImageTransitions):
                rows, store = state.rows, cast(ImageStore, self.store)
                store.restore(seed, np.asarray(state.images), *_seen(rows))
            for column, saved in _pairs(self.rows, cast(Batch, rows)):
                column[seed, : self.filled] = saved

    def _numbered(self, transitions: Batch, places: np.ndarray) -> Batch:
        """The transitions with the numbers of their images, which are stored in place of those that are overwritten."""
        store, images = cast(ImageStore, self.store), _seen(transitions)
        before, stored = _seen(self.before(len(places)))[1], _seen(self.rows)
        numbers = [np.empty_like(before), np.empty_like(before)]
        for seed, environment in np.ndindex(transitions.reward.shape):
            own, slot = (seed, environment), (seed, places[environment])
            known = before[own].tolist() if self.inserted >= len(places) else []
            new = store.add(seed, images[0][own], images[1][own], known)
            if self.inserted + environment >= self.slots:
                store.release(seed, *(column[slot] for column in stored))
            for column, later, entries in zip(stored, numbers, new, strict=True):
                column[slot] = later[own] = entries
        return dataclasses.replace(transitions, observation=numbers[0], next_observation=numbers[1])


def blank_rows(lead: tuple[int, ...], spec: Spec, extras: Extras) -> Batch:
    """Rows of zeros with these leading axes, as they are stored."""
    shape, kind = spec.observation_shape, spec.observation_dtype
    if has_images(spec):
        shape, kind = (spec.frame_stack,), "int32"  # numbers of images
    return Batch(
        observation=np.zeros((*lead, *shape), kind),
        action=np.zeros((*lead, spec.action_size), np.float32),
        reward=np.zeros(lead, np.float32),
        mask=np.zeros(lead, np.float32),
        next_observation=np.zeros((*lead, *shape), kind),
        extras={name: np.zeros((*lead, *shape), dtype) for name, (shape, dtype) in extras.items()},
    )


def _pairs(rows: Batch, others: Batch) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each column of the ring, and the same column of other transitions, which may have more."""
    named = [(getattr(rows, name), getattr(others, name)) for name in COLUMNS]
    return named + [(column, others.extras[name]) for name, column in rows.extras.items()]


def _seen(rows: Batch) -> list[np.ndarray]:
    """The columns of s and of s', on the host."""
    return [np.asarray(rows.observation), np.asarray(rows.next_observation)]
