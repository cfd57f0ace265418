"""Sources: what a compiled update draws its batches from."""

import abc
import dataclasses
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from ..types import Batch

Sampling = Literal["uniform", "balanced"]
"""uniform: dataset and online transitions are one ring with equally likely slots; balanced: half of each batch from the
dataset, half from the online transitions (arXiv 2302.02948, symmetric sampling)."""


class AbstractSource(eqx.Module):
    """Where batches come from. A pytree of arrays only, which are arguments of the compiled program."""

    @abc.abstractmethod
    def sample(self, size: int, index: Int[Array, ""], *, key: Key[Array, ""]) -> Batch:
        """The batch of `size` transitions for update number `index` of the dispatch, drawn with `key`."""

    @property
    @abc.abstractmethod
    def axes(self) -> Any:
        """For `vmap` over seeds: 0 for arrays with an axis for seeds, None for shared ones."""


class Dataset(AbstractSource):
    """N transitions, drawn uniformly with replacement."""

    data: Batch

    def sample(self, size: int, index: Int[Array, ""], *, key: Key[Array, ""]) -> Batch:
        return self.data[jax.random.randint(key, (size,), 0, len(self.data))]

    @property
    def axes(self) -> None:
        """All seeds share the data."""
        return None


class Window(eqx.Module):
    """Which transitions can be drawn: rows of the dataset from `oldest` on, and the first `filled` online slots."""

    oldest: Int[Array | np.ndarray, "*windows"]
    filled: Int[Array | np.ndarray, "*windows"]


def draw(size: int, rows: int, window: Window, sampling: Sampling, *, key: Key[Array, ""]) -> Int[Array, " size"]:
    """`size` numbers: row k of the dataset's N = `rows` is k, online slot k is N + k.

    `balanced`: the first half is from the dataset, the second from the online slots (at least one must be filled).
    """
    if sampling == "balanced":
        half = size // 2
        old, new = jax.random.split(key)
        return jnp.concatenate(
            [
                jax.random.randint(old, (half,), 0, rows),
                rows + jax.random.randint(new, (size - half,), 0, window.filled),
            ]
        )
    # The ring's slots in order of age: what is left of the dataset, then the online ones.
    left = rows - window.oldest
    place = jax.random.randint(key, (size,), 0, left + window.filled)
    return jnp.where(place < left, window.oldest + place, rows + place - left)


class Mixture(AbstractSource):
    """The dataset and online transitions, both on the device."""

    dataset: Batch
    online: Batch
    window: Window
    sampling: Sampling = eqx.field(static=True)

    def sample(self, size: int, index: Int[Array, ""], *, key: Key[Array, ""]) -> Batch:
        return self.rows(self.numbers(size, key=key))

    def numbers(self, size: int, *, key: Key[Array, ""]) -> Int[Array, " size"]:
        """What is drawn with this key, see `draw`."""
        return draw(size, len(self.dataset), self.window, self.sampling, key=key)

    def rows(self, numbers: Int[Array, " size"]) -> Batch:
        """The transitions of these numbers, without extras."""
        is_online, row, slot = self.places(numbers)
        new = dataclasses.replace(self.online, extras={})[slot]
        return jax.tree.map(lambda old, new: choose(is_online, new, old), self.dataset[row], new)

    def places(
        self, numbers: Int[Array, " size"]
    ) -> tuple[Bool[Array, " size"], Int[Array, " size"], Int[Array, " size"]]:
        """Whether each is an online transition, its row in the dataset, and its online slot; 0 for the other one."""
        rows = len(self.dataset)
        is_online = numbers >= rows
        return is_online, jnp.where(is_online, 0, numbers), jnp.where(is_online, numbers - rows, 0)

    @property
    def axes(self) -> "Mixture":
        """Each seed has its own online transitions."""
        parts, structure = jax.tree.flatten(self, is_leaf=lambda node: node is not self)
        return jax.tree.unflatten(structure, [0 if part is self.online else None for part in parts])


class Drawn(AbstractSource):
    """Batches drawn on the host, one per update of the dispatch: arrays (updates, size, ...)."""

    batches: Batch

    def sample(self, size: int, index: Int[Array, ""], *, key: Key[Array, ""]) -> Batch:
        return self.batches[index]

    @property
    def axes(self) -> int:
        """Each seed has its own batches."""
        return 0


def choose(first: Bool[Array, " size"], one: Array, other: Array) -> Array:
    """Rows of `one` where `first` is true, and of `other` elsewhere."""
    return jnp.where(first.reshape(first.shape + (1,) * (one.ndim - 1)), one, other)
