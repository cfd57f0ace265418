"""Where a learner, its data and its updates lie: on one device, or on several that divide its seeds or its batches.

The devices may be those of several processes. Then each has whole arrays of its own outside of the updates, the same as
all others.
"""

import abc
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Key

from .. import hosts
from ..frames import moved, to_device
from ..replay import AbstractSource
from ..replay.divided import ExchangedRows, PartitionedRows, apart, divided_arrays
from ..types import Batch

Run = Callable[..., Any]
"""Maps a learner's arrays, a source, maybe the number of updates, and the key to the arrays afterwards and metrics."""


class AbstractLayout(abc.ABC):
    """Where a learner, what it is trained on, and the work lie. Equal layouts share compiled programs."""

    @abc.abstractmethod
    def place(self, arrays: list[Array]) -> list[Array]:
        """A learner's arrays where the updates need them. Those that lie there are not copied."""

    @abc.abstractmethod
    def taken(self, arrays: list[Array]) -> list[Array]:
        """The arrays after updates as the caller gets them, without a copy."""

    @abc.abstractmethod
    def source(self, source: AbstractSource) -> AbstractSource:
        """A source on the host where the updates need it, so that no device holds more than it reads."""

    @abc.abstractmethod
    def divide(self, rows: Any, *, own: bool = False) -> Any:
        """Rows of arrays on the host, divided among the devices, for a source. `own`: those of each seed, along a first
        axis."""

    @abc.abstractmethod
    def divided(self, run: Run, axes: Any) -> Run:
        """Updates that are to be compiled, divided among the devices. `axes` are the source's."""

    @property
    @abc.abstractmethod
    def devices(self) -> int:
        """Number of devices."""

    @abc.abstractmethod
    def own_bytes(self, total: int) -> int:
        """Bytes on each device of what belongs to single seeds, of `total` for all of them."""

    @property
    @abc.abstractmethod
    def of_several_processes(self) -> bool:
        """Whether there are devices of other processes, too."""


@dataclasses.dataclass(frozen=True)
class OneDevice(AbstractLayout):
    """Everything on JAX's default device."""

    def place(self, arrays: list[Array]) -> list[Array]:
        return [_gathered(array) for array in arrays]

    def taken(self, arrays: list[Array]) -> list[Array]:
        return arrays

    def source(self, source: AbstractSource) -> AbstractSource:
        return to_device(source)

    def divide(self, rows: Any, *, own: bool = False) -> Any:
        return rows

    def divided(self, run: Run, axes: Any) -> Run:
        return run

    @property
    def devices(self) -> int:
        return 1

    def own_bytes(self, total: int) -> int:
        return total

    @property
    def of_several_processes(self) -> bool:
        return False


@dataclasses.dataclass(frozen=True)
class AbstractDivided(AbstractLayout):
    """Work that the devices of a mesh divide."""

    mesh: Mesh

    @property
    def devices(self) -> int:
        return self.mesh.size

    @property
    def of_several_processes(self) -> bool:
        return self.mesh.is_multi_process

    @property
    def everywhere(self) -> NamedSharding:
        """A copy on each device."""
        return NamedSharding(self.mesh, PartitionSpec())


@dataclasses.dataclass(frozen=True)
class SeedsDivided(AbstractDivided):
    """Each device trains some of the seeds: a program of its own, which waits for no other, unless the rows of the data
    are divided. Then they exchange rows once an update."""

    def place(self, arrays: list[Array]) -> list[Array]:
        return _put(hosts.same(arrays), [self._along(0 if array.ndim else None) for array in arrays])

    def taken(self, arrays: list[Array]) -> list[Array]:
        return _whole(arrays, self.everywhere) if self.of_several_processes else arrays

    def source(self, source: AbstractSource) -> AbstractSource:
        shares, others = apart(source)
        lie = jax.tree.map(self._along, source.axes, is_leaf=lambda axis: axis is None)
        return eqx.combine(shares, _put(others, lie))

    def divide(self, rows: Any, *, own: bool = False) -> Any:
        if own:  # each lies with its seed
            return rows
        return ExchangedRows(divided_arrays(rows, self.mesh), len(jax.tree.leaves(rows)[0]), "seeds")

    def divided(self, run: Run, axes: Any) -> Run:
        # Partitioned by XLA, the devices would ask each other in every loop of a solver whether all seeds are done.
        own, all_ = PartitionSpec("seeds"), PartitionSpec()
        sources = jax.tree.map(lambda axis: all_ if axis is None else own, axes, is_leaf=lambda axis: axis is None)

        def program(arrays: list[Array], source: AbstractSource, *arguments: Any) -> Any:
            def joined(arrays: list[Array], shares: Any, others: Any, *arguments: Any) -> Any:
                return run(arrays, eqx.combine(shares, others), *arguments)

            specs = (own, own, sources, *[all_] * (len(arguments) - 1), own)
            each = jax.shard_map(joined, mesh=self.mesh, in_specs=specs, out_specs=own, check_vma=False)
            return each(arrays, *apart(source), *arguments)

        return program

    def own_bytes(self, total: int) -> int:
        return total // self.devices

    def _along(self, axis: int | None) -> NamedSharding:
        return self.everywhere if axis is None else NamedSharding(self.mesh, PartitionSpec("seeds"))


@dataclasses.dataclass(frozen=True)
class BatchDivided(AbstractDivided):
    """Each device computes with some rows of every batch, and has a copy of all else, of the data unless its rows are
    divided. Gradients are summed."""

    def place(self, arrays: list[Array]) -> list[Array]:
        return _put(hosts.same(arrays), self.everywhere)

    def taken(self, arrays: list[Array]) -> list[Array]:
        return _whole(arrays, self.everywhere) if self.of_several_processes else [_first(array) for array in arrays]

    def source(self, source: AbstractSource) -> AbstractSource:
        shares, others = apart(source)
        return _RowsDivided(eqx.combine(shares, _put(others, self.everywhere)), self.mesh)

    def divide(self, rows: Any, *, own: bool = False) -> Any:
        count = jax.tree.leaves(rows)[0].shape[int(own)]
        return PartitionedRows(divided_arrays(rows, self.mesh, axis=int(own)), count)

    def divided(self, run: Run, axes: Any) -> Run:
        return lambda *arguments: jax.lax.with_sharding_constraint(run(*arguments), self.everywhere)

    def own_bytes(self, total: int) -> int:
        return total


class _RowsDivided(AbstractSource):
    """A source whose batches' rows are divided among devices, and with them all that is computed from a row."""

    inner: AbstractSource
    mesh: Mesh = eqx.field(static=True)

    def sample(self, size: int, index: Int[Array, ""], *, key: Key[Array, ""]) -> Batch:
        batch = self.inner.sample(size, index, key=key)
        proposals = batch.proposals
        if proposals is not None:  # the table is read by all rows
            names = ("place", "number", "next_place", "next_number")
            rows = self._divided({name: getattr(proposals, name) for name in names})
            proposals = dataclasses.replace(proposals, **rows)
        return dataclasses.replace(self._divided(dataclasses.replace(batch, proposals=None)), proposals=proposals)

    @property
    def axes(self) -> "_RowsDivided":
        """Those of the source whose batches are divided."""
        return _RowsDivided(self.inner.axes, self.mesh)

    def _divided(self, rows: Any) -> Any:
        return jax.lax.with_sharding_constraint(rows, NamedSharding(self.mesh, PartitionSpec("batch")))


def row(array: Array, index: int) -> Array:
    """Row `index` of an array; of one whose rows are divided among devices, on the first of them."""
    if isinstance(array, Tracer) or len(array.sharding.device_set) == 1:
        return array[index]
    for shard in array.addressable_shards:
        rows = range(len(array))[shard.index[0]]
        if index in rows:
            return jax.device_put(shard.data[index - rows.start], jax.local_devices()[0])
    raise IndexError(index)


def _gathered(array: Array) -> Array:
    """The array on one device: as it is, unless it is divided among several."""
    if isinstance(array, Tracer) or len(array.sharding.device_set) == 1:
        return array
    return jax.device_put(array, jax.local_devices()[0])


# --- with the devices of other processes, too


def _put(arrays: Any, lie: Any) -> Any:
    """Whole arrays, the same in every process, where they shall lie: `lie` is a tree like theirs, or its beginning."""
    return jax.tree.map(lambda lies, part: moved(part, partial(_spread, lies=lies)), lie, arrays)


def _spread(array: Any, lies: NamedSharding) -> Array:
    if lies.is_fully_addressable:
        return jax.device_put(array, lies)
    if isinstance(array, jax.Array) and jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        data = _spread(jax.random.key_data(array), lies)
        return jax.random.wrap_key_data(data, impl=jax.random.key_impl(array))
    whole = np.asarray(array)
    return jax.make_array_from_callback(whole.shape, lies, lambda index: whole[index])


def _whole(arrays: list[Array], everywhere: NamedSharding) -> list[Array]:
    """The arrays on a device of this process, once they are there."""
    with hosts.listening():
        return jax.block_until_ready([_first(array) for array in _copied(arrays, everywhere)])


@partial(jax.jit, static_argnums=1)
def _copied(arrays: list[Array], everywhere: NamedSharding) -> list[Array]:
    return jax.lax.with_sharding_constraint(arrays, everywhere)


def _first(array: Array) -> Array:
    return array.addressable_data(0)
