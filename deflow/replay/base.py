"""Replay: what an online learner draws from. All seeds share the dataset; each has its own online transitions.

The dataset and the online transitions form one ring of `capacity` slots that starts with the dataset. Once it is full,
each new transition replaces the oldest. (They are stored separately, so that several seeds share one dataset.)
"""

import abc
import dataclasses
import functools

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from ..types import Batch, Spec
from .images import Transitions
from .ring import Extras, Ring
from .sampling import AbstractSource, Drawable, Sampling, draw
from .windows import WINDOW_COLUMNS, Chunks, Windows


class AbstractReplay(abc.ABC):
    """The dataset and a ring of online transitions; `seeds` is None for one learner without an axis for seeds."""

    def __init__(
        self,
        dataset: Batch,
        spec: Spec,
        *,
        seeds: int | None,
        slots: int,
        capacity: int,
        sampling: Sampling,
        chunks: Chunks = Chunks(),
        extras: Extras | None = None,
    ):
        self.rows = len(dataset)
        """Number of transitions in the dataset."""
        further = {**(extras or {}), **(WINDOW_COLUMNS if chunks.length > 1 else {})}
        self.ring = Ring(spec, seeds=seeds or 1, slots=slots, extras=further)
        self.windows = Windows(self.ring, chunks) if chunks.length > 1 else None
        """The windows of the ring, of a replay for an agent with chunks."""
        self.chunks = chunks
        self.capacity = capacity
        self.sampling: Sampling = sampling
        self.seeds = seeds

    @abc.abstractmethod
    def insert(self, transitions: Batch) -> None:
        """Add transitions with leading axes (S, E), written in place."""

    @abc.abstractmethod
    def source(self, size: int, keys: Key[Array, " updates *seeds"], *, expected: int = 0) -> AbstractSource:
        """The source for the next updates, each of which draws `size` transitions with its own key.

        `expected` transitions count as already inserted; the caller knows that none of these updates draws them.
        """

    @abc.abstractmethod
    def restore(self, states: list[Transitions], inserted: int) -> None:
        """Restore what `state` returned for each seed, and the number of inserted transitions."""

    def state(self, seed: int) -> Transitions:
        """The online transitions of one seed, for a checkpoint: NumPy arrays (filled, ...)."""
        return self.ring.state(seed)

    @property
    def inserted(self) -> int:
        """Online transitions inserted so far, per seed."""
        return self.ring.inserted

    def drawable(self, inserted: int) -> Drawable:
        """What can be drawn after this many online transitions were inserted; of windows, those that are complete."""
        filled = np.asarray(min(inserted, self.ring.slots), np.int32)
        if self.windows is not None:
            filled = self.windows.filled if self.seeds is not None else np.asarray(self.windows.filled[0])
        lost = 0 if self.sampling == "balanced" else min(max(self.rows + inserted - self.capacity, 0), self.rows)
        return Drawable(np.asarray(lost, np.int32), filled)

    def _restored(self, states: list[Transitions], inserted: int) -> None:
        """Restores the ring and finds its windows."""
        self.ring.restore(states, inserted)
        if self.windows is not None:
            self.windows.restore()

    def slots(self, seed: int, entries: np.ndarray) -> Int[np.ndarray, "entries steps"]:
        """The online slots of a seed's drawn entries: of single transitions one each, of windows h."""
        return entries[:, None] if self.windows is None else self.windows.slots(seed, entries)

    def _kept(self, transitions: Batch) -> tuple[Batch, np.ndarray]:
        """New transitions as the ring stores them, after they were inserted there, and their slots."""
        if self.windows is not None:
            transitions = self.windows.counted(transitions)
        further = {name: transitions.extras[name] for name in self.ring.rows.extras}
        return self.ring.insert(dataclasses.replace(transitions, extras=further))

    def waits(self, size: int, keys: Key[Array, " rounds updates *seeds"], inserted: int, new: int) -> np.ndarray:
        """For each of the next rounds, each inserting `new` transitions: whether its updates draw one of these.

        If not, the updates can run before the round's transitions are inserted. Shape (rounds,). Windows are drawn
        only once a round has ended, so that nothing ever waits for them.
        """
        rounds, updates = keys.shape[:2]
        if self.windows is not None:
            return np.zeros(rounds, bool)
        after = inserted + new * np.arange(rounds)
        drawables = jax.tree.map(lambda *leaves: np.stack(leaves), *(self.drawable(int(n) + new) for n in after))
        per_update = jax.tree.map(lambda leaf: np.repeat(leaf, updates), drawables)
        flat = keys.reshape(rounds * updates, *keys.shape[2:])
        numbers = np.asarray(drawn_numbers(size, self.rows, per_update, self.sampling, flat)).reshape(rounds, -1)
        fresh = np.stack([self.rows + self.ring.places(new, after=int(n)) for n in after])
        return np.array([np.isin(drawn, own).any() for drawn, own in zip(numbers, fresh, strict=True)])


@functools.partial(jax.jit, static_argnums=(0, 1, 3))
def drawn_numbers(
    size: int, rows: int, drawable: Drawable, sampling: Sampling, keys: Key[Array, " updates *seeds"]
) -> Int[Array, "updates *seeds {size}"]:
    """The numbers that updates draw (see `draw`), each with what it can draw and its keys."""
    one = lambda drawable, key: draw(size, rows, drawable, sampling, key=key)  # noqa: E731
    if keys.ndim == 1:
        return jax.vmap(one)(drawable, keys)
    own = jax.tree.map(lambda leaf: None if leaf.ndim == 1 else 0, drawable)  # whether each seed has its own
    return jax.vmap(jax.vmap(one, in_axes=(own, 0)))(drawable, keys)
