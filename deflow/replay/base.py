"""Replay: what an online learner draws from. All seeds share the dataset; each has its own online transitions.

The dataset and the online transitions form one ring of `capacity` slots that starts with the dataset. Once it is full,
each new transition replaces the oldest. (They are stored separately, so that several seeds share one dataset.)
"""

import abc
import functools

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from ..types import Batch, Spec
from .ring import Extras, Ring
from .sampling import AbstractSource, Sampling, Window, draw


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
        extras: Extras | None = None,
    ):
        self.rows = len(dataset)
        """Number of transitions in the dataset."""
        self.ring = Ring(spec, seeds=seeds or 1, slots=slots, extras=extras)
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
    def restore(self, states: list[Batch], inserted: int) -> None:
        """Restore what `state` returned for each seed, and the number of inserted transitions."""

    def state(self, seed: int) -> Batch:
        """The online transitions of one seed, for a checkpoint: NumPy arrays (filled, ...)."""
        return self.ring.state(seed)

    @property
    def inserted(self) -> int:
        """Online transitions inserted so far, per seed."""
        return self.ring.inserted

    def window(self, inserted: int) -> Window:
        """What can be drawn after this many online transitions were inserted."""
        filled = min(inserted, self.ring.slots)
        lost = 0 if self.sampling == "balanced" else min(max(self.rows + inserted - self.capacity, 0), self.rows)
        return Window(np.asarray(lost, np.int32), np.asarray(filled, np.int32))

    def waits(self, size: int, keys: Key[Array, " rounds updates *seeds"], inserted: int, new: int) -> np.ndarray:
        """For each of the next rounds, each inserting `new` transitions: whether its updates draw one of these.

        If not, the updates can run before the round's transitions are inserted. Shape (rounds,).
        """
        rounds, updates = keys.shape[:2]
        after = inserted + new * np.arange(rounds)
        windows = jax.tree.map(lambda *leaves: np.stack(leaves), *(self.window(int(n) + new) for n in after))
        per_update = jax.tree.map(lambda leaf: np.repeat(leaf, updates), windows)
        flat = keys.reshape(rounds * updates, *keys.shape[2:])
        numbers = np.asarray(drawn_numbers(size, self.rows, per_update, self.sampling, flat)).reshape(rounds, -1)
        fresh = np.stack([self.rows + self.ring.places(new, after=int(n)) for n in after])
        return np.array([np.isin(drawn, own).any() for drawn, own in zip(numbers, fresh, strict=True)])


@functools.partial(jax.jit, static_argnums=(0, 1, 3))
def drawn_numbers(
    size: int, rows: int, windows: Window, sampling: Sampling, keys: Key[Array, " updates *seeds"]
) -> Int[Array, "updates *seeds {size}"]:
    """The numbers that updates draw (see `draw`), each with its window and its keys."""
    one = lambda window, key: draw(size, rows, window, sampling, key=key)  # noqa: E731
    if keys.ndim == 2:
        return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(windows, keys)
    return jax.vmap(one)(windows, keys)
