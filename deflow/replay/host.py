"""Replay in the host's memory, for transitions that do not fit on the device."""

import jax
import numpy as np
from jaxtyping import Array, Key

from ..data.chunks import windows_of
from ..types import Batch, Spec
from .base import AbstractReplay, drawn_numbers
from .images import Transitions, as_batch
from .ring import COLUMNS
from .sampling import AbstractSource, Drawn


class HostReplay(AbstractReplay):
    """All transitions in the host's memory. The same ones are drawn, and each batch is sent to the device."""

    def __init__(self, dataset: Batch, spec: Spec, **settings):
        super().__init__(dataset, spec, **settings)
        self._dataset = Batch(
            dataset.observation, dataset.action, dataset.reward, dataset.mask, dataset.next_observation
        )

    def insert(self, transitions: Batch) -> None:
        _, places = self._kept(transitions)
        if self.windows is not None:
            self.windows.add(places)

    def source(self, size: int, keys: Key[Array, " updates *seeds"], *, expected: int = 0) -> AbstractSource:
        numbers = self.numbers(size, keys, expected=expected)
        if self.seeds is None:
            return Drawn(self._gather(0, numbers))
        seeds = [self._gather(seed, numbers[:, seed]) for seed in range(self.seeds)]
        return Drawn(jax.tree.map(lambda *leaves: np.stack(leaves), *seeds))

    def numbers(self, size: int, keys: Key[Array, " updates *seeds"], *, expected: int = 0) -> np.ndarray:
        """What the next updates draw, see `draw`: shape (updates, size), or (updates, seeds, size)."""
        drawable = self.drawable(self.inserted + expected)
        repeated = jax.tree.map(lambda leaf: np.repeat(leaf[None], len(keys), axis=0), drawable)
        return np.asarray(drawn_numbers(size, self.rows, repeated, self.sampling, keys))

    def restore(self, states: list[Transitions], inserted: int) -> None:
        self._restored(states, inserted)

    def _gather(self, seed: int, numbers: np.ndarray) -> Batch:
        is_online = numbers >= self.rows
        batch = self._dataset[np.where(is_online, 0, numbers)].stacked()
        if is_online.any():
            slots = self.slots(seed, numbers[is_online] - self.rows)
            own = as_batch(jax.tree.map(lambda column: column[seed], self.ring.transitions))
            found = windows_of(own, slots, discount=self.chunks.discount).stacked()
            for name in COLUMNS:
                getattr(batch, name)[is_online] = getattr(found, name)
        return batch
