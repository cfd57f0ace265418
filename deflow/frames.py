"""Stacked frames of which each is stored once: a column of observations that is index arithmetic over frames."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt8


class Frames(eqx.Module):
    """Observations of shape (height, width, channels * count), each of the last `count` frames of its episode.

    Before an episode has so many, its first frame is repeated. The oldest frame comes first among the channels.
    Indexing selects observations and copies no frame; `stacked` does, inside a compiled program or out of it.
    """

    frames: UInt8[Array | np.ndarray, "frames height width channels"]
    """All frames, in the order of their episodes. Observations and next observations share this array."""

    newest: Int[Array | np.ndarray, "*batch"]
    """Number of each observation's last frame."""

    first: Int[Array | np.ndarray, "*batch"]
    """Number of its episode's first frame."""

    count: int = eqx.field(static=True)
    """Frames that are stacked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that `stacked` has."""
        height, width, channels = self.frames.shape[1:]
        return (*self.newest.shape, height, width, channels * self.count)

    @property
    def ndim(self) -> int:
        """The number of axes that `stacked` has."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """The type of the entries, uint8."""
        return self.frames.dtype

    def __len__(self) -> int:
        return len(self.newest)

    def __getitem__(self, rows: Any) -> "Frames":
        """Some of the observations, in any shape that indexing gives."""
        return Frames(self.frames, self.newest[rows], self.first[rows], self.count)

    def stacked(self) -> UInt8[Array | np.ndarray, "*batch height width stacked"]:
        """The observations themselves."""
        library: Any = jnp if isinstance(self.newest, jax.Array) or isinstance(self.frames, jax.Array) else np
        back = range(self.count - 1, -1, -1)
        numbers = library.stack([library.maximum(self.newest - steps, self.first) for steps in back], axis=-1)
        return library.moveaxis(self.frames[numbers], -4, -2).reshape(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self.stacked(), dtype)


def moved(tree: Any, move: Callable[[Any], Array]) -> Any:
    """A tree whose arrays were moved. What is the same array at two places stays one."""
    known: dict[int, Array] = {}

    def once(leaf: Any) -> Array:
        if id(leaf) not in known:
            known[id(leaf)] = move(leaf)
        return known[id(leaf)]

    return jax.tree.map(once, tree)


def to_device(tree: Any) -> Any:
    """The arrays of a tree on JAX's default device, each once."""
    return moved(tree, jnp.asarray)
