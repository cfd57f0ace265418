"""Fused updates: the compiled program that both training loops run, and the learner between dispatches."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from ..agent import Metrics
from ..agent.skeleton import Skeleton, shared
from ..keys import named_key
from ..replay import AbstractSource
from .learner import Learner
from .precision import Precision, matmul_precision


class FusedUpdates:
    """A learner of one or more seeds, and the program that makes many of its updates in one dispatch.

    Between dispatches the learner is a flat list of arrays, because flattening a tree of modules costs as much as a
    small update. (`eqx.filter_jit` would also wait for the result, while the caller has environments to step.)
    """

    def __init__(self, learner: Learner, *, batch_size: int, precision: Precision):
        self._skeleton, self._arrays = Skeleton.of(learner)
        self._program = _program(self._skeleton, learner.seeds is not None, batch_size, precision)

    def __call__(
        self, source: AbstractSource, count: Int[Array, ""], key: Key[Array, "*seeds"]
    ) -> dict[str, Float[Array, "*seeds"]]:
        """Makes `count` updates with batches from `source` and returns the metrics' means, without waiting for them."""
        self._arrays, metrics = self._program(self._arrays, source, count, key)
        return metrics

    @property
    def learner(self) -> Learner:
        """The learner after everything that was dispatched."""
        return self._skeleton.fill(self._arrays)


@shared
def _program(skeleton: Skeleton, together: bool, batch_size: int, precision: Precision) -> Callable[..., Any]:
    """The program of all learners with the same structure, compiled once per process."""

    @jax.jit
    def program(arrays, source, count, key):
        updates = eqx.filter_vmap(_updates, in_axes=(eqx.if_array(0), source.axes, None, 0, None))
        with matmul_precision(precision):
            after, metrics = (updates if together else _updates)(skeleton.fill(arrays), source, count, key, batch_size)
        return [leaf for leaf in jax.tree.leaves(after) if eqx.is_array(leaf)], metrics

    return program


def batch_key(key: Key[Array, ""], update: Int[Array, ""]) -> Key[Array, ""]:
    """The key of an update's batch."""
    return named_key(jax.random.fold_in(key, update), "batch")


@jax.jit
def batch_keys(key: Key[Array, "*seeds"], updates: Int[Array, " updates"]) -> Key[Array, " updates *seeds"]:
    """The keys of several updates' batches."""
    each = jax.vmap(batch_key, in_axes=(0, None)) if key.ndim else batch_key
    return jax.vmap(each, in_axes=(None, 0))(key, updates)


def _updates(
    learner: Learner, source: AbstractSource, count: Int[Array, ""], key: Key[Array, ""], batch_size: int
) -> tuple[Learner, Metrics]:
    """`count` updates of one seed, and their metrics' means. Update i depends only on `key` and i."""
    arrays, static = eqx.partition(learner, eqx.is_array)

    def update(index, arrays):
        learner: Learner = eqx.combine(arrays, static)
        batch = source.sample(batch_size, index, key=batch_key(key, learner.step))
        learner, metrics = learner.update(batch, key=named_key(jax.random.fold_in(key, learner.step), "update"))
        return eqx.filter(learner, eqx.is_array), metrics

    shapes = jax.eval_shape(update, count, arrays)[1]
    sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

    def body(index, carry):
        arrays, sums = carry
        arrays, metrics = update(index, arrays)
        return arrays, jax.tree.map(jnp.add, sums, metrics)

    arrays, sums = jax.lax.fori_loop(0, count, body, (arrays, sums))
    return eqx.combine(arrays, static), jax.tree.map(lambda total: total / count, sums)
