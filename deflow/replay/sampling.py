"""Sources: what a compiled update draws its batches from."""

import abc
import functools
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from ..data.chunks import windows_of
from ..types import Batch
from .divided import AbstractDividedRows
from .images import Transitions, as_batch
from .windows import Chunks, window_slots

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

    data: Batch | AbstractDividedRows

    def sample(self, size: int, index: Int[Array, ""], *, key: Key[Array, ""]) -> Batch:
        return self.data[dataset_rows(size, len(self.data), key=key)].stacked()

    @property
    def axes(self) -> None:
        """All seeds share the data."""
        return None


def dataset_rows(size: int, count: int, *, key: Key[Array, ""]) -> Int[Array, " size"]:
    """The rows of `count` that a batch of the dataset is made of."""
    return jax.random.randint(key, (size,), 0, count)


class Drawable(eqx.Module):
    """What can be drawn: rows of the dataset from `oldest` on, and the first `filled` of what is online."""

    oldest: Int[Array | np.ndarray, "*times"]
    filled: Int[Array | np.ndarray, "*times_and_seeds"]


def draw(size: int, rows: int, drawable: Drawable, sampling: Sampling, *, key: Key[Array, ""]) -> Int[Array, " size"]:
    """`size` numbers: row k of the dataset's N = `rows` is k, online transition (or window of them) k is N + k.

    `balanced`: the first half is from the dataset, the second from what is online. As long as nothing is, as no window
    may be complete, all of it is from the dataset, however old.
    """
    is_online = drawable.filled > 0
    if sampling == "balanced":
        half = size // 2
        old, new = jax.random.split(key)
        place = jax.random.randint(new, (size - half,), 0, jnp.where(is_online, drawable.filled, rows))
        return jnp.concatenate([jax.random.randint(old, (half,), 0, rows), jnp.where(is_online, rows + place, place)])
    # The ring's slots in order of age: what is left of the dataset, then the online ones.
    oldest = jnp.where(is_online, drawable.oldest, 0)
    left = rows - oldest
    place = jax.random.randint(key, (size,), 0, left + drawable.filled)
    return jnp.where(place < left, oldest + place, rows + place - left)


class Places(NamedTuple):
    """Where drawn transitions are; 0 in place of a row or slots that a transition does not have."""

    is_online: Bool[Array, " size"]
    row: Int[Array, " size"]
    """Rows of the dataset."""
    first: Int[Array, " size"]
    """Online slots, of windows those of their first transitions."""
    last: Int[Array, " size"]
    """Online slots, of windows those of their last transitions."""


class AbstractMixture(AbstractSource):
    """The dataset and online transitions, both on the device."""

    dataset: eqx.AbstractVar[Batch]
    online: eqx.AbstractVar[Transitions]
    """The ring, with its further columns."""
    drawable: eqx.AbstractVar[Drawable]
    sampling: eqx.AbstractVar[Sampling]

    @abc.abstractmethod
    def rows(self, numbers: Int[Array, " size"]) -> Batch:
        """The transitions of these numbers, without extras."""

    @abc.abstractmethod
    def places(self, numbers: Int[Array, " size"]) -> Places:
        """Where the transitions of these numbers are."""

    def sample(self, size: int, index: Int[Array, ""], *, key: Key[Array, ""]) -> Batch:
        return self.rows(self.numbers(size, key=key))

    def numbers(self, size: int, *, key: Key[Array, ""]) -> Int[Array, " size"]:
        """What is drawn with this key, see `draw`."""
        return draw(size, len(self.dataset), self.drawable, self.sampling, key=key)


class Mixture(AbstractMixture):
    """The dataset and single online transitions."""

    dataset: Batch
    online: Transitions
    drawable: Drawable
    sampling: Sampling = eqx.field(static=True)

    def rows(self, numbers: Int[Array, " size"]) -> Batch:
        is_online, row, slot, _ = self.places(numbers)
        new = as_batch(self.online).columns[slot].stacked()
        return jax.tree.map(lambda old, new: choose(is_online, new, old), self.dataset[row].stacked(), new)

    def places(self, numbers: Int[Array, " size"]) -> Places:
        rows = len(self.dataset)
        is_online = numbers >= rows
        slot = jnp.where(is_online, numbers - rows, 0)
        return Places(is_online, jnp.where(is_online, 0, numbers), slot, slot)

    @property
    def axes(self) -> "Mixture":
        """Each seed has its own online transitions."""
        return _own(self, self.online)


class WindowMixture(AbstractMixture):
    """The dataset in chunks, and windows of online transitions."""

    dataset: Batch
    online: Transitions
    drawable: Drawable
    """Of windows, how many each seed has."""
    starts: Int[Array, "*seeds slots"]
    """The slots in which windows start, see `Windows`."""
    first: Int[Array | np.ndarray, "*seeds"]
    """Place of the oldest window in `starts`."""
    sampling: Sampling = eqx.field(static=True)
    chunks: Chunks = eqx.field(static=True)

    def rows(self, numbers: Int[Array, " size"]) -> Batch:
        is_online, row, first, _ = self.places(numbers)
        new = windows_of(as_batch(self.online), self._slots(first), discount=self.chunks.discount).stacked()
        return jax.tree.map(lambda old, new: choose(is_online, new, old), self.dataset[row].stacked(), new)

    def places(self, numbers: Int[Array, " size"]) -> Places:
        rows = len(self.dataset)
        is_online = numbers >= rows
        window = jnp.where(is_online, numbers - rows, 0)
        slots = self._slots(self.starts[(self.first + window) % len(self.starts)])
        return Places(is_online, jnp.where(is_online, 0, numbers), slots[:, 0], slots[:, -1])

    def _slots(self, first: Int[Array, " size"]) -> Int[Array, "size steps"]:
        return jnp.asarray(window_slots(first, len(self.starts), self.chunks))

    @property
    def axes(self) -> "WindowMixture":
        """Each seed has its own online transitions and its own windows."""
        return _own(self, (self.online, self.drawable.filled, self.starts, self.first))


class Drawn(AbstractSource):
    """Batches drawn on the host, one per update of the dispatch: arrays (updates, size, ...)."""

    batches: Batch

    def sample(self, size: int, index: Int[Array, ""], *, key: Key[Array, ""]) -> Batch:
        return self.batches[index]

    @property
    def axes(self) -> int:
        """Each seed has its own batches."""
        return 0


def drawn_on_host(data: Batch, size: int, keys: Key[Array, " updates *seeds"]) -> Drawn:
    """The batches that updates with these keys draw from a dataset on the host, as they would on the device."""
    rows = np.asarray(drawn_rows(size, len(data), keys))
    return Drawn(data[rows if keys.ndim == 1 else rows.swapaxes(0, 1)].stacked())


@functools.partial(jax.jit, static_argnums=(0, 1))
def drawn_rows(size: int, count: int, keys: Key[Array, " updates *seeds"]) -> Int[Array, "updates *seeds {size}"]:
    """The rows of the dataset that updates with these keys draw, see `dataset_rows`."""
    one = lambda key: dataset_rows(size, count, key=key)  # noqa: E731
    return (jax.vmap(jax.vmap(one)) if keys.ndim == 2 else jax.vmap(one))(keys)


def choose(first: Bool[Array, " size"], one: Array, other: Array) -> Array:
    """Rows of `one` where `first` is true, and of `other` elsewhere."""
    return jnp.where(first.reshape(first.shape + (1,) * (one.ndim - 1)), one, other)


def _own(source: AbstractSource, parts: Any) -> Any:
    """The axes of a source: 0 for the arrays in these parts of it, None for those that the seeds share."""
    own = {id(leaf) for leaf in jax.tree.leaves(parts)}
    return jax.tree.map(lambda leaf: 0 if id(leaf) in own else None, source)
