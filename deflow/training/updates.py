"""Fused updates: the compiled programs that both training loops run, and the learner between dispatches."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.stages import Lowered, Wrapped
from jaxtyping import Array, Float, Int, Key

from ..agent import Metrics
from ..agent.skeleton import Skeleton, shared
from ..encoders import AbstractImageEncoder
from ..keys import named_key
from ..replay import AbstractSource
from .layouts import AbstractLayout, OneDevice
from .learner import Learner
from .precision import Precision, matmul_precision


class FusedUpdates:
    """A learner of one or more seeds, and the programs that make many of its updates in one dispatch, or a single one.

    Between dispatches the learner is a flat list of arrays, because flattening a tree of modules costs as much as a
    small update. (`eqx.filter_jit` would also wait for the result, while the caller has environments to step.)
    """

    def __init__(
        self, learner: Learner, *, batch_size: int, precision: Precision, layout: AbstractLayout = OneDevice()
    ):
        self._skeleton, arrays = Skeleton.of(learner)
        self._arrays, self._layout = layout.place(arrays), layout
        self._apart = jax.default_backend() == "cpu" and _sees_images(learner)
        self._kind = (self._skeleton, learner.seeds is not None, batch_size, precision, layout)

    def __call__(
        self, source: AbstractSource, count: int, key: Key[Array, "*seeds"]
    ) -> dict[str, Float[Array, "*seeds"]]:
        """Makes `count` updates with batches from `source` and returns the metrics' means, without waiting for them."""
        if self._apart:
            return self._one_by_one(source, count, key)
        self._arrays, metrics = self._program(self._arrays, source, count, key)
        return self._taken(metrics)

    def _one_by_one(
        self, source: AbstractSource, count: int, key: Key[Array, "*seeds"]
    ) -> dict[str, Float[Array, "*seeds"]]:
        """The same without a loop inside the program."""
        rows = []
        for index in range(count):
            self._arrays, metrics = self._indexed_program(self._arrays, source, index, key)
            rows.append(metrics)
        return self._taken(jax.tree.map(lambda *each: jnp.mean(jnp.stack(each), axis=0), *rows))

    def once(self, source: AbstractSource, key: Key[Array, "*seeds"]) -> dict[str, Float[Array, "*seeds"]]:
        """The same for a single update, without the loop: XLA makes a quicker program of it.

        Its numbers may differ from the loop's in the last bits, so a training keeps to one of the two.
        """
        self._arrays, metrics = self._single_program(self._arrays, source, key)
        return self._taken(metrics)

    def lowered(self, source: AbstractSource, count: int, key: Key[Array, "*seeds"]) -> Lowered:
        """The program of such a call before XLA compiles it, for a look at what it needs."""
        return self._program.lower(self._arrays, source, count, key)

    @property
    def learner(self) -> Learner:
        """The learner after everything that was dispatched."""
        return self._skeleton.fill(self._layout.taken(self._arrays))

    def _taken(self, metrics: dict[str, Float[Array, "*seeds"]]) -> dict[str, Float[Array, "*seeds"]]:
        return dict(zip(metrics, self._layout.taken([*metrics.values()]), strict=True))

    @functools.cached_property
    def _program(self) -> Wrapped:
        return _program(_updates, *self._kind)

    @functools.cached_property
    def _indexed_program(self) -> Wrapped:
        return _program(_update, *self._kind)

    @functools.cached_property
    def _single_program(self) -> Wrapped:
        return _program(_first_update, *self._kind)


def _sees_images(learner: Learner) -> bool:
    nodes = jax.tree.leaves(learner.agent, is_leaf=lambda node: isinstance(node, AbstractImageEncoder))
    return any(isinstance(node, AbstractImageEncoder) for node in nodes)


@shared
def _program(
    function: Callable[..., Any],
    skeleton: Skeleton,
    together: bool,
    batch_size: int,
    precision: Precision,
    layout: AbstractLayout,
) -> Wrapped:
    """The program of all learners with the same structure, compiled once per process."""

    def updates(arrays, source, *arguments):  # the number of updates, if there is one, and the key
        axes = (eqx.if_array(0), None, source.axes, *[None] * (len(arguments) - 1), 0)
        run = eqx.filter_vmap(function, in_axes=axes) if together else function
        with matmul_precision(precision):
            after, metrics = run(skeleton.fill(arrays), batch_size, source, *arguments)
        return [leaf for leaf in jax.tree.leaves(after) if eqx.is_array(leaf)], metrics

    @jax.jit
    def program(arrays, source, *arguments):
        return layout.divided(updates, source.axes)(arrays, source, *arguments)

    return program


def batch_key(key: Key[Array, ""], update: Int[Array, ""]) -> Key[Array, ""]:
    """The key of an update's batch."""
    return named_key(jax.random.fold_in(key, update), "batch")


@jax.jit
def batch_keys(key: Key[Array, "*seeds"], updates: Int[Array, " updates"]) -> Key[Array, " updates *seeds"]:
    """The keys of several updates' batches."""
    each = jax.vmap(batch_key, in_axes=(0, None)) if key.ndim else batch_key
    return jax.vmap(each, in_axes=(None, 0))(key, updates)


def _update(
    learner: Learner, batch_size: int, source: AbstractSource, index: Int[Array, ""], key: Key[Array, ""]
) -> tuple[Learner, Metrics]:
    """The next update of one seed, the dispatch's number `index`. Update i depends only on `key` and i."""
    batch = source.sample(batch_size, index, key=batch_key(key, learner.step))
    return learner.update(batch, key=named_key(jax.random.fold_in(key, learner.step), "update"))


def _first_update(
    learner: Learner, batch_size: int, source: AbstractSource, key: Key[Array, ""]
) -> tuple[Learner, Metrics]:
    """A dispatch of one update."""
    return _update(learner, batch_size, source, jnp.zeros((), jnp.int32), key)


def _updates(
    learner: Learner, batch_size: int, source: AbstractSource, count: Int[Array, ""], key: Key[Array, ""]
) -> tuple[Learner, Metrics]:
    """`count` updates of one seed, and their metrics' means."""
    arrays, static = eqx.partition(learner, eqx.is_array)

    def update(index, arrays):
        learner, metrics = _update(eqx.combine(arrays, static), batch_size, source, index, key)
        return eqx.filter(learner, eqx.is_array), metrics

    shapes = jax.eval_shape(update, count, arrays)[1]
    sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def body(index, carry):
        arrays, sums = carry
        arrays, metrics = update(index, arrays)
        return arrays, jax.tree.map(jnp.add, sums, metrics)

    arrays, sums = jax.lax.fori_loop(0, count, body, (arrays, sums))
    return eqx.combine(arrays, static), jax.tree.map(lambda total: total / count, sums)
