"""How many devices a training uses, and for what."""

import dataclasses
from typing import Literal

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

from ..errors import DeflowWarning, warn
from ..types import check_number
from .layouts import AbstractLayout, BatchDivided, OneDevice, SeedsDivided


@dataclasses.dataclass(frozen=True)
class Devices:
    """How many devices a training uses: for its seeds, or else for the rows of each batch. They are those of this
    machine, or of all processes that `jax.distributed` has joined, the same number of each."""

    seeds: int | Literal["auto", "all"] = "auto"
    """Devices among which the seeds are divided; auto: all if they are accelerators, else one of each process. If that
    number does not divide the number of seeds, the largest one below that does."""

    batch: int | Literal["all"] = 1
    """Devices among which each batch is divided; seeds are then together on each."""

    def __post_init__(self) -> None:
        check_number("Devices", "seeds", self.seeds, int | Literal["auto", "all"])
        check_number("Devices", "batch", self.batch, int | Literal["all"])
        for value in (self.seeds, self.batch):
            if not isinstance(value, str) and value < 1:
                raise ValueError(f"A number of devices must be at least 1, got {value}.")

    def asked(self) -> tuple[int, int]:
        """The numbers of devices asked for: for seeds, and for batches.

        Raises:
            ValueError: If there are not as many.
        """
        there, processes = jax.device_count(), jax.process_count()
        batch = there if self.batch == "all" else self.batch
        seeds = self.seeds
        if seeds == "auto":
            least = 1 if batch > 1 else processes
            seeds = "all" if jax.default_backend() != "cpu" and batch == 1 else least
        seeds = there if seeds == "all" else seeds
        for number in (seeds, batch):
            if number > there:
                raise ValueError(
                    f"{number} devices were asked for, and JAX finds {there} here: give at most that, or all."
                )
        return seeds, batch

    def used(self, seeds: int | None, batch_size: int) -> tuple[int, int]:
        """Those that a learner of so many seeds (None: one) and batches of this size can use.

        Raises:
            ValueError: If there are not as many, if they do not divide the batch, or if both seeds and batches would be
                divided.
        """
        most, batch = self.asked()
        used, processes = _divisor(seeds or 1, most), jax.process_count()
        if used % processes and batch % processes and (most, batch) != (1, 1):
            raise ValueError(
                f"The {processes} processes that train together need as many seeds, or a multiple, or batches that "
                f"are divided among all devices; got {seeds or 1} seed(s), and batches on {batch} device(s)."
            )
        if used > 1 and batch > 1:
            raise ValueError(
                f"Devices divide either seeds or batches, got {used} for the seeds and {batch} for the batches: give 1 "
                "for one of them."
            )
        if batch_size % batch:
            raise ValueError(
                f"{batch} devices do not divide a batch of {batch_size} transitions: give a multiple of {batch}, or "
                "another number of devices."
            )
        return used, batch

    def remainder(self, seeds: int | None) -> str:
        """A sentence if devices stay idle since their number does not divide that of the seeds, else nothing."""
        most, total = self.asked()[0], seeds or 1
        used = _divisor(total, most)
        return (
            f"{total} seeds do not divide among {most} devices, so they use {used}." if used < min(most, total) else ""
        )

    def layout(self, seeds: int | None, batch_size: int) -> AbstractLayout:
        """Where such a learner and its updates lie. Raises as `used` does, and warns of a `remainder`."""
        for_seeds, for_batch = self.used(seeds, batch_size)
        if remainder := self.remainder(seeds):
            warn(remainder, DeflowWarning)
        if for_batch > 1:
            return BatchDivided(_mesh("batch", for_batch))
        return SeedsDivided(_mesh("seeds", for_seeds)) if for_seeds > 1 else OneDevice()


def _divisor(seeds: int, most: int) -> int:
    """The largest number of devices, up to `most`, among which seeds can be divided."""
    counts = range(1, most + 1)
    even = [count for count in counts if seeds % count == 0 and count % jax.process_count() == 0]
    return max(even, default=1)


def _mesh(axis: str, count: int) -> Mesh:
    """The first devices of each process, as many of one as of another."""
    each, processes = count // jax.process_count(), range(jax.process_count())
    devices = [device for process in processes for device in jax.local_devices(process_index=process)[:each]]
    return Mesh(np.array(devices), (axis,), axis_types=(AxisType.Auto,))
