"""Replay: what a learner draws from online. The dataset is shared by all seeds, online transitions are each seed's own.

Dataset and online transitions are one ring of `capacity` slots that starts with the dataset: when it is full, each new
transition takes the place of the oldest. (They are stored apart, so that several seeds hold the dataset once.)
"""

import abc
import functools
import os
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from ..types import Batch, Spec
from .ring import Ring
from .sources import AbstractSource, Drawn, Mixture, Sampling, Window, draw

Placement = Literal["auto", "device", "host"]

SHARE = 0.6
"""How much of a device's free memory transitions may take; the rest is the training's."""


class Replay(abc.ABC):
    """The dataset and a ring of online transitions; `seeds` is None for a lone learner, whose arrays have no axis."""

    def __init__(self, dataset: Batch, spec: Spec, *, seeds: int | None, slots: int, capacity: int, sampling: Sampling):
        self.rows = len(dataset)
        """Transitions of the dataset."""
        self.ring = Ring(spec, seeds=seeds or 1, slots=slots)
        self.capacity = capacity
        self.sampling: Sampling = sampling
        self.seeds = seeds

    @abc.abstractmethod
    def insert(self, transitions: Batch) -> None:
        """Add transitions with leading axes (S, E), written in place."""

    @abc.abstractmethod
    def source(self, size: int, keys: Key[Array, " updates *seeds"], *, expected: int = 0) -> AbstractSource:
        """What the next updates draw from: `size` transitions each, with its own of the keys.

        `expected` transitions count as inserted already: the caller knows that none of these updates draws them.
        """

    @abc.abstractmethod
    def restore(self, states: list[Batch], inserted: int) -> None:
        """Put back what `state` gave for each seed, and how many transitions had been inserted."""

    def state(self, seed: int) -> Batch:
        """The online transitions of one seed, for a checkpoint: NumPy arrays (filled, ...)."""
        return self.ring.state(seed)

    @property
    def inserted(self) -> int:
        """Online transitions inserted so far, per seed."""
        return self.ring.inserted

    def window(self, inserted: int) -> Window:
        """What may be drawn once so many online transitions were inserted."""
        filled = min(inserted, self.ring.slots)
        lost = 0 if self.sampling == "balanced" else min(max(self.rows + inserted - self.capacity, 0), self.rows)
        return Window(np.asarray(lost, np.int32), np.asarray(filled, np.int32))

    def waits(self, size: int, keys: Key[Array, " rounds updates *seeds"], inserted: int, new: int) -> np.ndarray:
        """For each of the next rounds, which insert `new` transitions each: whether its updates draw one of its own.

        Where they do not, the updates may run before their round's transitions are there. Shape (rounds,).
        """
        rounds, updates = keys.shape[:2]
        after = inserted + new * np.arange(rounds)
        windows = jax.tree.map(lambda *leaves: np.stack(leaves), *(self.window(int(n) + new) for n in after))
        per_update = jax.tree.map(lambda leaf: np.repeat(leaf, updates), windows)
        numbers = _numbers(size, self.rows, per_update, self.sampling, keys.reshape(rounds * updates, *keys.shape[2:]))
        numbers = np.asarray(numbers).reshape(rounds, -1)
        fresh = np.stack([self.rows + self.ring.places(new, after=int(n)) for n in after])
        return np.array([np.isin(drawn, own).any() for drawn, own in zip(numbers, fresh, strict=True)])


class DeviceReplay(Replay):
    """All transitions on JAX's default device: drawn inside the compiled program, written in place (by donation)."""

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


class HostReplay(Replay):
    """All transitions in the host's memory: the same ones are drawn, and each batch is sent to the device."""

    def __init__(self, dataset: Batch, spec: Spec, **settings):
        super().__init__(dataset, spec, **settings)
        self._dataset = Batch(
            dataset.observation, dataset.action, dataset.reward, dataset.mask, dataset.next_observation
        )

    def insert(self, transitions: Batch) -> None:
        self.ring.insert(transitions)

    def source(self, size: int, keys: Key[Array, " updates *seeds"], *, expected: int = 0) -> AbstractSource:
        window = self.window(self.inserted + expected)
        repeated = jax.tree.map(lambda leaf: np.repeat(leaf, len(keys)), window)
        numbers = np.asarray(_numbers(size, self.rows, repeated, self.sampling, keys))
        if self.seeds is None:
            return Drawn(self._gather(0, numbers))
        seeds = [self._gather(seed, numbers[:, seed]) for seed in range(self.seeds)]
        return Drawn(jax.tree.map(lambda *leaves: np.stack(leaves), *seeds))

    def restore(self, states: list[Batch], inserted: int) -> None:
        self.ring.restore(states, inserted)

    def _gather(self, seed: int, numbers: np.ndarray) -> Batch:
        is_online = numbers >= self.rows
        batch = self._dataset[np.where(is_online, 0, numbers)]
        if is_online.any():
            online = self.ring.rows[seed][numbers[is_online] - self.rows]
            for name in ("observation", "action", "reward", "mask", "next_observation"):
                getattr(batch, name)[is_online] = getattr(online, name)
        return batch


def make_replay(
    dataset: Batch,
    spec: Spec,
    *,
    seeds: int | None = None,
    steps: int,
    capacity: int = 2_000_000,
    sampling: Sampling = "uniform",
    placement: Placement = "auto",
) -> Replay:
    """A replay for at most `steps` online transitions per seed; on the device where it fits (or as `placement` says).

    **Raises:** `ValueError` for a capacity that is smaller than the dataset.
    """
    if sampling == "uniform" and capacity < len(dataset):
        raise ValueError(
            f"The replay's capacity of {capacity:,} transitions is smaller than the dataset's {len(dataset):,}: raise "
            "it, or sample balanced, which keeps the dataset apart."
        )
    if capacity < 1 or steps < 1:
        raise ValueError(f"capacity and steps must be at least 1, got {capacity} and {steps}.")
    slots = min(steps, capacity)
    if placement == "auto":
        placement = choose_placement(len(dataset), spec, slots * (seeds or 1))
    kind = DeviceReplay if placement == "device" else HostReplay
    return kind(dataset, spec, seeds=seeds, slots=slots, capacity=capacity, sampling=sampling)


def replay_bytes(spec: Spec, transitions: int) -> int:
    """Memory that so many transitions take."""
    observation = spec.observation_size * np.dtype(spec.observation_dtype).itemsize
    return transitions * (2 * observation + 4 * (spec.action_size + 2))


def choose_placement(rows: int, spec: Spec, online: int) -> Literal["device", "host"]:
    """Where a dataset of so many rows and so many online transitions fit."""
    free = _free_memory()
    return "device" if free is None or replay_bytes(spec, rows + online) < SHARE * free else "host"


def _free_memory() -> int | None:
    """Bytes that are free on JAX's default device, where that is known."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "bytes_limit" in statistics:
        return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)
    if jax.default_backend() == "cpu" and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


@functools.partial(jax.jit, static_argnums=(0, 1, 3))
def _numbers(
    size: int, rows: int, windows: Window, sampling: Sampling, keys: Key[Array, " updates *seeds"]
) -> Int[Array, "updates *seeds {size}"]:
    """The numbers that updates draw (see `draw`), each with its window and its keys."""
    one = lambda window, key: draw(size, rows, window, sampling, key=key)  # noqa: E731
    if keys.ndim == 2:
        return jax.vmap(jax.vmap(one, in_axes=(None, 0)))(windows, keys)
    return jax.vmap(one)(windows, keys)


@functools.partial(jax.jit, donate_argnums=0)
def _write(online: Batch, transitions: Batch, places: Int[Array, " new"]) -> Batch:
    """The ring with new transitions in these slots."""
    axis = transitions.reward.ndim - 1

    def write(slots, new):
        return slots.at[places].set(new) if axis == 0 else slots.at[:, places].set(new)

    return jax.tree.map(write, online, transitions)
