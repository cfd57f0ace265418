"""What an update costs that sees images: `benchmark.py --pixels`."""

from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np

import deflow
from deflow.data import stack_frames
from deflow.replay import Dataset
from deflow.replay.sampling import drawn_on_host
from deflow.training.updates import FusedUpdates, batch_keys

from .turns import Turn, calls_per_second, proposed

SPEC = deflow.Spec((64, 64, 9), 5, "uint8", frame_stack=3)  # visual-cube-single
ALONE, JOINT, STAGED, HOST = "flow alone", "deflow", "deflow from 16 proposals", "deflow, data on the host"


def image_data(rows: int) -> deflow.Batch:
    """One trajectory of random images: speed does not depend on them."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (rows + 1, *SPEC.frame_shape), np.uint8)
    action = generator.uniform(-1, 1, size=(rows, SPEC.action_size)).astype(np.float32)
    ones, ends = np.ones(rows, np.float32), (np.arange(rows) == rows - 1).astype(np.float32)
    single = deflow.Batch(images[:-1], action, -ones, ones, images[1:], {"trajectory_end": ends})
    return stack_frames(single, SPEC.frame_stack)


def config_of(options: Any, name: str) -> deflow.AgentConfig:
    """A published visual agent, or its flow."""
    algorithm = "flow-bc" if name == ALONE else "deflow"
    settings = deflow.task_settings("visual-cube-single-play-singletask-task1-v0")
    return deflow.agent_config(algorithm, settings=settings, width=options.width, depth=options.depth)


def pixel_turns(options: Any) -> dict[str, Turn]:
    """Updates per second of each kind of training."""
    data = image_data(options.rows)
    return {name: _turn(options, data, name) for name in (ALONE, JOINT, STAGED, HOST)}


def _turn(options: Any, data: deflow.Batch, name: str) -> Turn:
    key, count = jax.random.key(0), 2 if jax.default_backend() == "cpu" else 100
    learner = deflow.Learner.create(config_of(options, name), SPEC, key=key)
    learner = learner.freeze_field() if name == STAGED else learner
    updates = FusedUpdates(learner, batch_size=options.batch_size, precision="float32")
    if name == HOST:
        keys = batch_keys(key, jax.numpy.arange(count))
        source = lambda: drawn_on_host(data.columns, options.batch_size, keys)  # noqa: E731
    else:
        placed = proposed(learner.agent, data, 16) if name == STAGED else Dataset(data.on_device())
        source = lambda: placed  # noqa: E731

    def run() -> None:
        jax.block_until_ready(updates(source(), count, key))

    return lambda: count * calls_per_second(run, options.seconds)


def pixel_costs(options: Any) -> dict[str, dict[str, float]]:
    """Of an update: how often a first convolution is computed, for one observation of each transition of the batch, and
    operations in 1e9, as XLA counts them; and bytes that are moved where the data is on the host."""
    return {name: _cost(options, name) for name in (ALONE, JOINT)}


def _cost(options: Any, name: str) -> dict[str, float]:
    learner = deflow.Learner.create(config_of(options, name), SPEC, key=jax.random.key(0))
    arrays, rest = eqx.partition(learner, eqx.is_array)
    batch = image_data(options.batch_size).stacked().on_device()

    def update(arrays: Any) -> Any:
        return eqx.filter(eqx.combine(arrays, rest).update(batch, key=jax.random.key(0))[0], eqx.is_array)

    first = (3, 3, SPEC.observation_shape[-1], 16)
    program = jax.make_jaxpr(update)(arrays).jaxpr
    flops = (jax.jit(update).lower(arrays).compile().cost_analysis() or {}).get("flops", float("nan"))
    return {
        "encoder_passes": sum(shape == first for shape in _filters(program)),
        "gflop": round(flops / 1e9, 1),
        "megabytes_moved_from_the_host": round(sum(leaf.nbytes for leaf in jax.tree.leaves(batch)) / 1e6, 1),
    }


def _filters(program: Any) -> Iterator[tuple[int, ...]]:
    """The shapes of all convolutions' filters."""
    for equation in program.eqns:
        if equation.primitive.name == "conv_general_dilated":
            yield equation.invars[1].aval.shape
        for inner in jax.tree.leaves(equation.params, is_leaf=lambda node: hasattr(node, "eqns")):
            if hasattr(inner, "eqns"):
                yield from _filters(inner)
            elif hasattr(inner, "jaxpr"):
                yield from _filters(inner.jaxpr)
