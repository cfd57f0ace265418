"""Stacked frames of which each is stored once: a column of observations that are numbers of frames."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, UInt8


class Frames(eqx.Module):
    """Observations of shape (height, width, channels * count), each of `count` frames.

    The oldest frame comes first among the channels. Indexing selects observations and copies no frame; `stacked` does,
    inside a compiled program or out of it.
    """

    frames: UInt8[Array | np.ndarray, "frames height width channels"]
    """All frames. Observations and next observations share this array."""

    numbers: Int[Array | np.ndarray, "*batch count"]
    """Each observation's frames, the oldest first."""

    @classmethod
    def of_episodes(cls, frames: Any, newest: np.ndarray, first: np.ndarray, count: int) -> "Frames":
        """Observations of the last `count` frames of their episodes, the first of which is repeated before there are as
        many. `newest` are the numbers of the observations' last frames, `first` those of their episodes' first ones."""
        back = np.arange(count - 1, -1, -1)
        return cls(frames, np.maximum(newest[:, None] - back, first[:, None]).astype(np.int32))

    @property
    def count(self) -> int:
        """Frames that are stacked."""
        return self.numbers.shape[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape that `stacked` has."""
        height, width, channels = self.frames.shape[1:]
        return (*self.numbers.shape[:-1], height, width, channels * self.count)

    @property
    def ndim(self) -> int:
        """The number of axes that `stacked` has."""
        return len(self.shape)

    @property
    def dtype(self) -> Any:
        """The type of the entries, uint8."""
        return self.frames.dtype

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: Any) -> "Frames":
        """Some of the observations, in any shape that indexing gives."""
        return Frames(self.frames, self.numbers[rows])

    def stacked(self) -> UInt8[Array | np.ndarray, "*batch height width stacked"]:
        """The observations themselves."""
        library: Any = jnp if isinstance(self.numbers, jax.Array) or isinstance(self.frames, jax.Array) else np
        return library.moveaxis(self.frames[self.numbers], -4, -2).reshape(self.shape)

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
