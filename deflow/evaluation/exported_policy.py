"""A policy in the form that workers receive: an exported program and NumPy arrays instead of the user's classes."""

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from ..errors import EvaluationError
from ..networks import for_acting
from .worker import KEY_WORDS, Job, Sizes


class Exporter:
    """Writes policies, laid out for acting, into a directory that workers read. Each kind is traced only once."""

    def __init__(self, directory: Path):
        self._directory = directory
        self._programs: dict[Any, Path] = {}
        self._jobs = 0

    def __call__(self, policy: Callable[..., Any], sizes: Sizes, seed: int) -> Job:
        """Write the files that running `policy` at these sizes needs. The caller removes the weights' file.

        Raises:
            EvaluationError: For a policy that does not map one observation and a key to one action.
        """
        policy = for_acting(policy)
        arrays, static = eqx.partition(policy, lambda leaf: isinstance(leaf, jax.Array | np.ndarray))
        leaves, structure = jax.tree.flatten(arrays)
        implementations = [_key_implementation(leaf) for leaf in leaves]
        data = [jax.random.key_data(x) if name else x for x, name in zip(leaves, implementations, strict=True)]
        data = [np.asarray(x) for x in jax.device_get(data)]

        def act(data, observation, key, step):
            wrapped = [
                jax.random.wrap_key_data(x, impl=name) if name else jnp.asarray(x)
                for x, name in zip(data, implementations, strict=True)
            ]
            policy = eqx.combine(jax.tree.unflatten(structure, wrapped), static)
            key = jax.random.fold_in(jax.random.wrap_key_data(key, impl="threefry2x32"), step)
            return policy(observation, key=key)

        shapes = tuple((x.shape, x.dtype.name, name) for x, name in zip(data, implementations, strict=True))
        kind = _hashable(policy, structure, static, shapes, sizes)
        if kind not in self._programs:
            program = _export(act, data, sizes)
            path = self._directory / f"program-{hashlib.sha256(program).hexdigest()}"
            path.write_bytes(program)
            self._programs[kind] = path
        self._jobs += 1
        weights = self._directory / f"weights-{self._jobs}"
        weights.write_bytes(pickle.dumps(data))
        return Job(str(self._programs[kind]), str(weights), seed)


def _export(act: Callable, data: list[np.ndarray], sizes: Sizes) -> bytes:
    """The pickled pair (whether 64-bit types are on, the serialized program), always traced for the CPU."""
    observation = jax.ShapeDtypeStruct(sizes.observation_shape, sizes.observation_dtype)
    key = jax.ShapeDtypeStruct((KEY_WORDS,), "uint32")
    step = jax.ShapeDtypeStruct((), "uint32")
    what = f"one observation of shape {sizes.observation_shape} and type {sizes.observation_dtype}"
    try:
        exported = jax.export.export(jax.jit(act), platforms=["cpu"])(data, observation, key, step)
    except Exception as error:
        raise EvaluationError(
            f"The policy could not be traced as policy(observation, key=key) on {what}: {error} "
            "Check that it was built for this environment and uses only JAX."
        ) from error
    got = [f"{x.dtype}{list(x.shape)}" for x in exported.out_avals]
    shapes = [x.shape for x in exported.out_avals]
    size = sizes.action_size
    fits = len(shapes) == 1 and (
        shapes[0] == (size,) or (len(shapes[0]) == 2 and shapes[0][0] > 0 and shapes[0][1] == size)
    )
    if not fits or not jnp.issubdtype(exported.out_avals[0].dtype, jnp.floating):
        raise EvaluationError(
            f"The policy must return one action of shape ({size},), or the next n of shape (n, {size}), of a floating "
            f"type for {what}, "
            f"got {', '.join(got) or 'nothing'}. Build it for this environment."
        )
    return pickle.dumps((jax.config.read("jax_enable_x64"), bytes(exported.serialize())))


def _key_implementation(leaf) -> str | None:
    """The generator's name for an array of typed random keys, None for any other array."""
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(jax.random.key_impl(leaf))
    return None


def _hashable(policy, structure, static, shapes, sizes: Sizes):
    """A key that is equal for two policies if and only if they are the same program; unique if that is unknown."""
    values = tuple(jax.tree.leaves(static))
    types = tuple(type(value) for value in values)
    kind = (structure, jax.tree.structure(static), values, types, shapes, sizes, jax.config.read("jax_enable_x64"))
    try:
        hash(kind)
    except TypeError:
        return object()
    return kind if isinstance(policy, eqx.Module) else object()
