"""Replay on the device."""

import functools
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, UInt8

from ..types import Batch, Spec
from .base import AbstractReplay
from .images import ImageStore, ImageTransitions, Transitions
from .sampling import AbstractSource, Mixture, WindowMixture


class DeviceReplay(AbstractReplay):
    """All transitions on JAX's default device, drawn inside the compiled program and written in place (by donation)."""

    def __init__(self, dataset: Batch, spec: Spec, **settings):
        super().__init__(dataset, spec, **settings)
        self._dataset = dataset.on_device()
        self._online, self._starts = self._on_device()

    def insert(self, transitions: Batch) -> None:
        rows, places = self._kept(transitions)
        self._online = self._written(self._online, rows, places)
        if self.windows is not None:
            written, firsts = self.windows.add(places)
            self._starts = _note(self._starts, self._own(written), firsts)

    def source(self, size: int, keys: Key[Array, " updates *seeds"], *, expected: int = 0) -> AbstractSource:
        drawable = self.drawable(self.inserted + expected)
        if self.windows is None:
            return Mixture(self._dataset, self._online, drawable, self.sampling)
        oldest = self._own(self.windows.oldest)
        more = {"sampling": self.sampling, "chunks": self.windows.chunks}
        return WindowMixture(self._dataset, self._online, drawable, starts=self._starts, first=oldest, **more)

    def restore(self, states: list[Transitions], inserted: int) -> None:
        self._restored(states, inserted)
        self._online, self._starts = self._on_device()

    def _written(self, online: Transitions, rows: Batch, places: np.ndarray) -> Transitions:
        """The ring with new rows (S, E) in these slots, and with their images."""
        if isinstance(online, Batch):
            return _write(online, self._own(rows), places)
        store = cast(ImageStore, self.ring.store)
        entries = np.concatenate([rows.observation, rows.next_observation], axis=-1).reshape(len(rows.reward), -1)
        new = store.images[np.arange(len(entries))[:, None], entries]
        images = online.images
        if (missing := store.room - images.shape[-4]) > 0:
            images = jnp.pad(images, [(0, 0)] * (images.ndim - 4) + [(0, missing)] + [(0, 0)] * 3)
        return ImageTransitions(
            _write(online.rows, self._own(rows), places), _put(images, self._own(entries), self._own(new))
        )

    def _on_device(self) -> tuple[Transitions, Array]:
        """The ring, and where its windows start. A donated buffer must be its own, so they are copies."""
        starts = np.zeros((self.seeds or 1, 0), np.int32) if self.windows is None else self.windows.starts
        return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), self._own((self.ring.transitions, starts)))

    def _own(self, tree: Any) -> Any:
        """The arrays (S, ...), without the first axis if there are no seeds."""
        return tree if self.seeds is not None else jax.tree.map(lambda leaf: np.asarray(leaf[0]), tree)


@functools.partial(jax.jit, donate_argnums=0)
def _write(online: Batch, transitions: Batch, places: Int[Array, " new"]) -> Batch:
    """The ring with new transitions in these slots."""
    axis = transitions.reward.ndim - 1

    def write(slots, new):
        return slots.at[places].set(new) if axis == 0 else slots.at[:, places].set(new)

    return jax.tree.map(write, online, transitions)


@functools.partial(jax.jit, donate_argnums=0)
def _put(
    images: UInt8[Array, "*seeds images height width channels"],
    entries: Int[Array, "*seeds new"],
    new: UInt8[Array, "*seeds new height width channels"],
) -> UInt8[Array, "*seeds images height width channels"]:
    """The images with new ones in these entries."""
    put = lambda images, entries, new: images.at[entries].set(new)  # noqa: E731
    return (jax.vmap(put) if images.ndim == 5 else put)(images, entries, new)


@functools.partial(jax.jit, donate_argnums=0)
def _note(
    starts: Int[Array, "*seeds slots"], places: Int[Array, "*seeds new"], firsts: Int[Array, " new"]
) -> Int[Array, "*seeds slots"]:
    """The slots in which windows start, with new ones in these places, of which those beyond the last are left out."""
    if starts.ndim == 1:
        return starts.at[places].set(firsts, mode="drop")
    return jax.vmap(lambda own, places: own.at[places].set(firsts, mode="drop"))(starts, places)
