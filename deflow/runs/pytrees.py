"""A PyTree's arrays by name, and back: the part of a state that a checkpoint stores."""

import dataclasses
import json
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..errors import CheckpointError

PyTree = Any
"""Arrays, nested in whatever JAX can take apart."""


@dataclasses.dataclass(frozen=True)
class Leaf:
    """The description of one array, without its numbers."""

    shape: tuple[int, ...]
    """Its shape. For keys, the shape of the array of keys."""

    dtype: str
    """Its type, such as `float32`, or `key<fry>` for keys."""

    kind: Literal["jax", "key", "numpy", "scalar"] = "jax"
    """Whether it is a JAX array, typed random keys, a NumPy array or a NumPy scalar; it is restored as such."""

    weak: bool = False
    """Whether JAX promotes it like a Python number, which affects computations with it."""

    generator: str | None = None
    """The algorithm of keys, such as `threefry2x32`."""

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


def flatten(state: PyTree, part: str = "") -> dict[str, Any]:
    """The arrays and `jax.ShapeDtypeStruct`s in `state` by their path, such as `critic.layers[0].weight`.

    `part` is the path of `state` in what it is a part of.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(state, _is_array))
    named = {(part + jax.tree_util.keystr(path)).lstrip(".") or "state": leaf for path, leaf in leaves}
    if len(named) < len(leaves):
        raise CheckpointError("Two arrays of the state have the same path; use simpler keys in its dictionaries.")
    return named


def within(name: str, part: str) -> bool:
    """Whether the leaf `name` is in the part of the state at the path `part` (empty: the whole state)."""
    return not part or name == part or name.startswith((part + ".", part + "["))


def describe(leaf: Any) -> Leaf:
    """The description of an array or a `jax.ShapeDtypeStruct`.

    Raises:
        TypeError: If it holds text, objects or dates.
    """
    shape, dtype = tuple(leaf.shape), str(leaf.dtype)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        concrete = isinstance(leaf, jax.Array)
        return Leaf(shape, dtype, "key", generator=str(jax.random.key_impl(leaf)) if concrete else None)
    if np.dtype(leaf.dtype).kind in "OSUMm":
        raise TypeError(f"it is of type {dtype}, which is not a number")
    if isinstance(leaf, np.generic):
        return Leaf(shape, dtype, "scalar")
    return Leaf(shape, dtype, "numpy" if isinstance(leaf, np.ndarray) else "jax", getattr(leaf, "weak_type", False))


def to_host(leaves: Iterable[Any]) -> list[np.ndarray]:
    """Arrays and keys as NumPy arrays, fetched from the device together."""
    raw = [jax.random.key_data(leaf) if describe(leaf).kind == "key" else leaf for leaf in leaves]
    return [np.asarray(array) for array in jax.device_get(raw)]


def from_host(array: np.ndarray, leaf: Leaf) -> Any:
    """Turns a NumPy array into what `leaf` describes; JAX arrays go to the default device."""
    if leaf.kind == "numpy":
        return array
    if leaf.kind == "scalar":
        return array[()]
    # A copy: JAX may otherwise share the memory with NumPy, and a donated buffer must be its own.
    values = jnp.array(array, array.dtype, copy=True)
    if leaf.kind == "key":
        return jax.random.wrap_key_data(values, impl=leaf.generator)
    if leaf.weak:  # only Python numbers make weak arrays; writing into one keeps it weak
        return jnp.broadcast_to(jnp.asarray(array.dtype.type(0).item()), leaf.shape).at[...].set(values)
    return values


def compare(wanted: Mapping[str, Any], found: Mapping[str, Leaf]) -> tuple[str, ...]:
    """One line for each leaf in which a state (`wanted`, from `flatten`) and a checkpoint differ."""
    lines = []
    for name in dict.fromkeys([*found, *wanted]):
        here = describe(wanted[name]) if name in wanted else None
        there = found.get(name)
        if here is None or there is None or here.shape != there.shape or not _same_type(wanted[name], there):
            lines.append(f"{name}: {there or 'absent'} in the checkpoint, {here or 'absent'} here")
    return tuple(lines)


def copied(wanted: Mapping[str, Any], found: Mapping[str, Leaf]) -> list[str]:
    """The arrays of which a checkpoint has a copy for each member of a critic. Members share an encoder now; before,
    each had its own."""
    return [
        name
        for name, leaf in found.items()
        if name in wanted
        and ".encoder." in name
        and leaf.shape[1:] == tuple(wanted[name].shape) != leaf.shape
        and _same_type(wanted[name], leaf)
    ]


def fill(like: PyTree, arrays: Mapping[str, Any], part: str = "") -> PyTree:
    """`like` with its arrays replaced by those of the same names (see `flatten`). Other leaves are kept."""
    holes, rest = eqx.partition(like, _is_array)
    new = jax.tree.unflatten(jax.tree.structure(holes), [arrays[name] for name in flatten(holes, part)])
    return eqx.combine(new, rest)


def named_arrays(state: PyTree) -> tuple[dict[str, Leaf], dict[str, np.ndarray]]:
    """Descriptions and values on the host of all arrays in `state`, by path.

    Raises:
        CheckpointError: If an array holds objects.
    """
    leaves, spec = flatten(state), {}
    for name, leaf in leaves.items():
        try:
            spec[name] = describe(leaf)
        except TypeError as error:
            raise CheckpointError(f"Cannot save {name}: {error}; keep only arrays of numbers in the state.") from None
    return spec, dict(zip(leaves, to_host(leaves.values()), strict=True))


def _is_array(leaf: Any) -> bool:
    return eqx.is_array(leaf) or isinstance(leaf, jax.ShapeDtypeStruct)


def _same_type(here: Any, there: Leaf) -> bool:
    # `eqx.filter_eval_shape` shows a 64-bit NumPy array as the 32-bit array that JAX would make of it.
    if isinstance(here, jax.ShapeDtypeStruct) and there.kind in ("numpy", "scalar"):
        return str(jax.dtypes.canonicalize_dtype(there.dtype)) == str(here.dtype)
    return str(here.dtype) == there.dtype


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """The arrays of a state and its notes."""

    spec: Mapping[str, Leaf]
    """What each array is, by its path in the state."""

    arrays: Mapping[str, np.ndarray]
    """Their values."""

    notes: Mapping[str, Any]
    """The notes, as read back from JSON."""

    @classmethod
    def of(cls, state: PyTree, notes: Mapping[str, Any]) -> "Snapshot":
        """The current state. It may share memory with the original: see `copy`.

        Raises:
            CheckpointError: If an array holds objects, or the notes are not JSON values.
        """
        try:
            plain = json.loads(json.dumps(dict(notes)))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"Cannot save notes: {error}; give plain JSON values.") from error
        return cls(*named_arrays(state), plain)

    def copy(self) -> "Snapshot":
        """A copy in its own memory, since NumPy arrays may be overwritten and JAX's buffers donated."""
        return dataclasses.replace(self, arrays={name: np.array(array) for name, array in self.arrays.items()})

    @property
    def bytes(self) -> int:
        """The size of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())
