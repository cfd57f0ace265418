"""Replay on the device."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from ..types import Batch, Spec
from .base import AbstractReplay
from .sampling import AbstractSource, Mixture


class DeviceReplay(AbstractReplay):
    """All transitions on JAX's default device, drawn inside the compiled program and written in place (by donation)."""

    def __init__(self, dataset: Batch, spec: Spec, **settings):
        super().__init__(dataset, spec, **settings)
        self._dataset = dataset.on_device()
        self._online = self._to_device()

    def insert(self, transitions: Batch) -> None:
        places = self.ring.insert(transitions)
        if self.seeds is None:
            transitions = transitions[0]
        self._online = _write(self._online, transitions, places)

    def source(self, size: int, keys: Key[Array, " updates *seeds"], *, expected: int = 0) -> AbstractSource:
        return Mixture(self._dataset, self._online, self.window(self.inserted + expected), self.sampling)

    def restore(self, states: list[Batch], inserted: int) -> None:
        self.ring.restore(states, inserted)
        self._online = self._to_device()

    def _to_device(self) -> Batch:
        rows = self.ring.rows if self.seeds is not None else self.ring.rows[0]
        return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), rows)  # a donated buffer must be its own


@functools.partial(jax.jit, donate_argnums=0)
def _write(online: Batch, transitions: Batch, places: Int[Array, " new"]) -> Batch:
    """The ring with new transitions in these slots."""
    axis = transitions.reward.ndim - 1

    def write(slots, new):
        return slots.at[places].set(new) if axis == 0 else slots.at[:, places].set(new)

    return jax.tree.map(write, online, transitions)
