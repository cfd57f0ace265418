"""Several devices of one machine: the seeds of a learner, or the rows of each batch, are divided among them."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, Key

from ..replay import AbstractSource
from ..types import Batch, check_number

@dataclasses.dataclass(frozen=True)
class Devices:
    """How many devices of this machine a training uses: for its seeds, or else for the rows of each batch."""

    seeds: int | Literal["auto", "all"] = "auto"
    """Devices among which the seeds are divided; auto: all if they are accelerators, else 1. If that number does not
    divide the number of seeds, the largest one below that does."""

    batch: int | Literal["all"] = 1
    """Devices among which each batch is divided, with the seeds together on all of them."""

    def __post_init__(self) -> None:
        check_number("Devices", "seeds", self.seeds, int | Literal["auto", "all"])
        check_number("Devices", "batch", self.batch, int | Literal["all"])

    def resolved(self, seeds: int | None, batch_size: int) -> "Devices":
        """The numbers for a learner of so many seeds (None: one) and this batch size.

        Raises:
            ValueError: If there are not as many devices, if they do not divide the batch, or if both seeds and batches
                are to be divided.
        """
        batch = self._number("batch", self.batch)
        auto = "all" if jax.default_backend() != "cpu" and batch == 1 else 1
        most = self._number("seeds", auto if self.seeds == "auto" else self.seeds)
        used = max(count for count in range(1, most + 1) if (seeds or 1) % count == 0)
        if used > 1 and batch > 1:
            raise ValueError(f"Either seeds or batches are divided among devices, got {used} for seeds, {batch} for batches.")
        if batch_size % batch:
            raise ValueError(
                f"A batch of {batch_size} transitions does not divide among {batch} devices: give a multiple of "
                f"{batch}, or another number of devices."
            )
        return Devices(used, batch)

    def layout(self, seeds: int | None, batch_size: int) -> "AbstractLayout":
        """Where such a learner and its updates lie. Raises as `resolved` does."""
        found = self.resolved(seeds, batch_size)
        for axis, count, kind in (("seeds", found.seeds, SeedsDivided), ("batch", found.batch, BatchDivided)):
            if count != 1:
                devices = np.array(jax.local_devices()[:count])
                return kind(Mesh(devices, (axis,), axis_types=(AxisType.Auto,)))
        return OneDevice()

    def _number(self, name: str, wanted: Any) -> int:
        there = jax.local_device_count()
        number = there if wanted == "all" else int(wanted)
        if not 1 <= number <= there:
            raise ValueError(f"Devices.{name} must be from 1 to {there}, as many as JAX finds here, got {number}.")
        return number


Run = Callable[..., Any]
"""Maps a learner's arrays, a source, perhaps the number of updates, and the key to the arrays afterwards and metrics."""


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
        return jax.tree.map(jnp.asarray, source)

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
