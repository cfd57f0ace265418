"""Training on logged data alone: K fused updates per dispatch, batches sampled inside."""

from collections.abc import Callable, Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from ..agent import Metrics
from ..keys import named_key
from ..replay import AbstractSource, Dataset
from ..types import Batch
from .learner import Learner
from .precision import Precision, matmul_precision


def train_offline(
    learner: Learner,
    data: Batch,
    *,
    steps: int,
    key: Key[Array, "*seeds"],
    batch_size: int = 256,
    updates_per_dispatch: int = 100,
    precision: Precision = "float32",
) -> Iterator[tuple[int, Learner, Metrics]]:
    """Trains until the learner has made `steps` updates; yields (updates made, learner, metrics) once per dispatch.

    `data` has N transitions as its first axis and is moved to the device once. The metrics are means over the
    dispatch's updates; they and the learner are still being computed when they are yielded. Update i draws from
    `key` and i alone, so that the result does not depend on `updates_per_dispatch`. For a learner of S seeds, `key`
    is a vector of S keys, and each metric has shape (S,).

    **Raises:** `ValueError` for sizes below 1, data of another shape than the agent's, or keys that do not match.
    """
    for name, value in (("batch_size", batch_size), ("updates_per_dispatch", updates_per_dispatch)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}.")
    if key.shape != learner.step.shape:
        raise ValueError(f"A learner of shape {learner.step.shape} needs keys of that shape, got {key.shape}.")
    check_batch(learner, data)
    dispatch = fused_updates(learner, batch_size=batch_size, precision=precision)
    source = Dataset(data.on_device())
    done = int(jnp.max(learner.step))
    while done < steps:
        count = min(updates_per_dispatch, steps - done)
        learner, metrics = dispatch(learner, source, jnp.asarray(count), key)
        done += count
        yield done, learner, metrics


Dispatch = Callable[[Learner, AbstractSource, Int[Array, ""], Key[Array, "*seeds"]], tuple[Learner, Metrics]]


def fused_updates(learner: Learner, *, batch_size: int, precision: Precision) -> Dispatch:
    """The compiled program of a given number of updates, for one seed or several; the number is an argument."""

    def updates(
        learner: Learner, source: AbstractSource, count: Int[Array, ""], key: Key[Array, ""]
    ) -> tuple[Learner, Metrics]:
        arrays, static = eqx.partition(learner, eqx.is_array)

        def update(index, arrays):
            learner: Learner = eqx.combine(arrays, static)
            step_key = jax.random.fold_in(key, learner.step)
            batch = source.sample(batch_size, index, key=batch_key(key, learner.step))
            learner, metrics = learner.update(batch, key=named_key(step_key, "update"))
            return eqx.filter(learner, eqx.is_array), metrics

        shapes = jax.eval_shape(update, count, arrays)[1]
        sums = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        def body(index, carry):
            arrays, sums = carry
            arrays, metrics = update(index, arrays)
            return arrays, jax.tree.map(jnp.add, sums, metrics)

        arrays, sums = jax.lax.fori_loop(0, count, body, (arrays, sums))
        return eqx.combine(arrays, static), jax.tree.map(lambda total: total / count, sums)

    together = learner.seeds is not None

    @eqx.filter_jit
    def dispatch(learner, source, count, key):
        program = eqx.filter_vmap(updates, in_axes=(eqx.if_array(0), source.axes, None, 0)) if together else updates
        with matmul_precision(precision):
            return program(learner, source, count, key)

    return dispatch


def batch_key(key: Key[Array, ""], update: Int[Array, ""]) -> Key[Array, ""]:
    """What an update's batch is drawn with."""
    return named_key(jax.random.fold_in(key, update), "batch")


def check_batch(learner: Learner, data: Batch) -> None:
    """Refuses data that the agent cannot read."""
    if len(data) == 0:
        raise ValueError("The dataset is empty: nothing can be learned from it.")
    spec = learner.agent.spec
    for name, shape in (("observation", spec.observation_shape), ("action", (spec.action_size,))):
        got = getattr(data, name).shape[1:]
        if got != shape:
            raise ValueError(f"The agent was built for {name}s of shape {shape}, the dataset's have shape {got}.")
