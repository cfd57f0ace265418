"""Rows that are divided among devices, each of which has an equal share of them, where no device has room for all."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, UInt8


class AbstractDividedRows(eqx.Module):
    """The rows of several arrays, divided among the devices of a mesh. Indexed with numbers of rows, it gives these
    rows, as the arrays themselves would.

    Device k of D has the rows from k * ceil(N / D) on; zeros follow the last row.
    """

    share: eqx.AbstractVar[Any]
    """The arrays; in a device's own program, its share of them."""

    count: eqx.AbstractVar[int]
    """Number of rows N, without those that were added."""

    def __len__(self) -> int:
        return self.count

    @abc.abstractmethod
    def __getitem__(self, numbers: Int[Array, " size"]) -> Any:
        """The rows of these numbers, wherever they are."""


class PartitionedRows(AbstractDividedRows):
    """For a program that XLA divides among the devices: it makes the communication of the indexing."""

    share: Any
    count: int = eqx.field(static=True)

    def __getitem__(self, numbers: Int[Array, " size"]) -> Any:
        return jax.tree.map(lambda column: column[numbers], self.share)


class ExchangedRows(AbstractDividedRows):
    """For programs of the devices' own, which must all ask at once: each tells the others the numbers that it needs,
    looks up those that it has, and is sent its own, bit for bit. Two collective operations, however many arrays."""

    share: Any
    count: int = eqx.field(static=True)
    axis: str = eqx.field(static=True)
    """Name of the mesh's axis."""

    def __getitem__(self, numbers: Int[Array, " size"]) -> Any:
        columns, structure = jax.tree.flatten(self.share)
        asked = jax.lax.all_gather(numbers, self.axis)  # (devices, size)
        here = asked - len(columns[0]) * jax.lax.axis_index(self.axis)
        is_here = (here >= 0) & (here < len(columns[0]))
        place = jnp.where(is_here, here, 0)
        found = jnp.concatenate([_as_bytes(column[place], lead=2) for column in columns], axis=-1)
        # One device has the row, the others add zeros.
        own = jax.lax.psum_scatter(jnp.where(is_here[..., None], found, jnp.uint8(0)), self.axis)
        ends = np.cumsum([_row_bytes(column) for column in columns])[:-1].tolist()
        rows = [_from_bytes(part, column) for part, column in zip(jnp.split(own, ends, -1), columns, strict=True)]
        return jax.tree.unflatten(structure, rows)


def divided_arrays(rows: Any, mesh: Mesh, *, axis: int = 0) -> Any:
    """Arrays on the host with N entries along `axis`, divided there among a mesh's devices, with zeros after the last
    so that all have equally many. None is copied as a whole."""

    def divide(array: Any) -> Array:
        entries = -(-array.shape[axis] // mesh.size)
        shape = tuple(entries * mesh.size if number == axis else size for number, size in enumerate(array.shape))
        kind = jax.dtypes.canonicalize_dtype(array.dtype)

        def share(index: Any) -> np.ndarray:
            part = np.asarray(array[index], kind)  # what lies beyond the end is left out
            missing = [(0, entries - size if number == axis else 0) for number, size in enumerate(part.shape)]
            return np.pad(part, missing) if any(after for _, after in missing) else part

        along = PartitionSpec(*[None] * axis, mesh.axis_names[0])
        return jax.make_array_from_callback(shape, NamedSharding(mesh, along), share)

    return jax.tree.map(divide, rows)


def apart(source: Any) -> tuple[Any, Any]:
    """A source's arrays whose rows are divided, and all others: twice the same tree. `eqx.combine` joins them."""
    is_rows = lambda node: isinstance(node, AbstractDividedRows)  # noqa: E731
    return eqx.partition(source, jax.tree.map(is_rows, source, is_leaf=is_rows))


def _as_bytes(rows: Array, *, lead: int) -> UInt8[Array, "..."]:
    """The entries of rows behind their `lead` first axes, as bytes along one axis."""
    return jax.lax.bitcast_convert_type(rows, jnp.uint8).reshape(*rows.shape[:lead], -1)


def _from_bytes(rows: UInt8[Array, "size bytes"], like: Array) -> Array:
    """What `_as_bytes` was given, with the type and the shape of another array's rows."""
    shape = (len(rows), *like.shape[1:], *[like.dtype.itemsize] * (like.dtype.itemsize > 1))
    return jax.lax.bitcast_convert_type(rows.reshape(shape), like.dtype)


def _row_bytes(like: Array) -> int:
    return like.dtype.itemsize * int(np.prod(like.shape[1:], dtype=int))
