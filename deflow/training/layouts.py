"""Where a learner, its data and its updates lie: on one device, or on several that divide its seeds or its batches."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Key

from ..frames import to_device
from ..replay import AbstractSource
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
    def divided(self, run: Run, axes: Any) -> Run:
        """Updates that are to be compiled, divided among the devices. `axes` are the source's."""


@dataclasses.dataclass(frozen=True)
class OneDevice(AbstractLayout):
    """Everything on JAX's default device."""

    def place(self, arrays: list[Array]) -> list[Array]:
        return [_gathered(array) for array in arrays]

    def taken(self, arrays: list[Array]) -> list[Array]:
        return arrays

    def source(self, source: AbstractSource) -> AbstractSource:
        return to_device(source)

    def divided(self, run: Run, axes: Any) -> Run:
        return run


@dataclasses.dataclass(frozen=True)
class SeedsDivided(AbstractLayout):
    """Each device trains some of the seeds, with a copy of the data: a program of its own, which waits for no other."""

    mesh: Mesh

    def place(self, arrays: list[Array]) -> list[Array]:
        return jax.device_put(arrays, self._along(0))

    def taken(self, arrays: list[Array]) -> list[Array]:
        return arrays

    def source(self, source: AbstractSource) -> AbstractSource:
        return jax.device_put(source, jax.tree.map(self._along, source.axes, is_leaf=lambda axis: axis is None))

    def divided(self, run: Run, axes: Any) -> Run:
        # Partitioned by XLA, the devices would ask each other in every loop of a solver whether all seeds are done.
        own, all_ = PartitionSpec("seeds"), PartitionSpec()
        sources = jax.tree.map(lambda axis: all_ if axis is None else own, axes, is_leaf=lambda axis: axis is None)

        def program(arrays: list[Array], source: AbstractSource, *arguments: Any) -> Any:
            specs = (own, sources, *[all_] * (len(arguments) - 1), own)
            each = jax.shard_map(run, mesh=self.mesh, in_specs=specs, out_specs=own, check_vma=False)
            return each(arrays, source, *arguments)

        return program

    def _along(self, axis: int | None) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec() if axis is None else PartitionSpec("seeds"))


@dataclasses.dataclass(frozen=True)
class BatchDivided(AbstractLayout):
    """Each device computes with some rows of every batch, and has a copy of everything else; gradients are summed."""

    mesh: Mesh

    def place(self, arrays: list[Array]) -> list[Array]:
        return jax.device_put(arrays, self._everywhere)

    def taken(self, arrays: list[Array]) -> list[Array]:
        return [array.addressable_data(0) for array in arrays]

    def source(self, source: AbstractSource) -> AbstractSource:
        return _RowsDivided(jax.device_put(source, self._everywhere), self.mesh)

    def divided(self, run: Run, axes: Any) -> Run:
        return lambda *arguments: jax.lax.with_sharding_constraint(run(*arguments), self._everywhere)

    @property
    def _everywhere(self) -> NamedSharding:
        return NamedSharding(self.mesh, PartitionSpec())


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
