"""What the laws are made of: building a part, and checking one thing about it."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..errors import LawError
from ..types import Spec, build, placeholder_data, trainable
from .example import example_context, example_data


def built(choice: Any, spec: Spec) -> Any:
    """The part, checked to be the same when built again, and to have the same shapes when built from other data."""
    context, key = example_context(spec, data=example_data(spec)), jax.random.key(4)
    part = build(choice, context, key=key)
    check(part, eqx.tree_equal(part, build(choice, context, key=key)), "the same key must build the same part")
    other = example_context(spec, data=placeholder_data(spec))
    bare = eqx.filter_eval_shape(lambda: build(choice, other, key=key))
    check(part, layout(bare) == layout(part), "the data must not decide the shapes and types of the arrays")
    return part


def layout(tree: Any) -> Any:
    """The structure of a tree of arrays, and their shapes and types."""
    leaves, structure = jax.tree.flatten(eqx.filter(tree, lambda leaf: hasattr(leaf, "dtype")))
    return structure, [(leaf.shape, leaf.dtype) for leaf in leaves]


def has_nonzero(gradients: Any) -> bool:
    """Whether any gradient is not 0."""
    return any(bool(jnp.any(leaf != 0)) for leaf in jax.tree.leaves(gradients))


def check(part: Any, holds: Any, law: str) -> None:
    """Checks one law.

    Raises:
        LawError: If it does not hold.
    """
    if not holds:
        raise LawError(f"{type(part).__name__}: {law}.")


def check_array(part: Any, what: str, array: Any, shape: tuple[int, ...]) -> None:
    """An array is finite, in float32 and of this shape."""
    got = f"{jnp.shape(array)} and {jnp.result_type(array)}"
    right = jnp.shape(array) == shape and jnp.result_type(array) == jnp.float32
    check(part, right, f"{what} must have the shape {shape} and type float32, got {got}")
    check(part, jnp.all(jnp.isfinite(array)), f"{what} must be finite, got {array}")


def check_close(part: Any, what: str, got: Any, expected: Any, tolerance: float) -> None:
    """Two arrays agree, relatively or absolutely."""
    close = np.allclose(got, expected, rtol=tolerance, atol=tolerance)
    check(part, close, f"{what} must be {expected}, got {got}")


def check_batched(part: Any, function: Any, rows: Any) -> None:
    """The same alone and in a batch."""
    batch, alone = jax.jit(lambda rows: (jax.vmap(function)(rows), function(rows[1])))(rows)
    check_close(part, "what vmap gives", batch[1], alone, 1e-5)


def check_gradients(part: Any, function: Any, argument: Any) -> None:
    """The gradients of a scalar function(part, argument) are finite."""
    arrays, rest = eqx.partition(part, trainable(part))

    @jax.jit
    def gradients(arrays: Any, argument: Any) -> Any:
        return jax.grad(lambda a, x: function(eqx.combine(a, rest), x), argnums=(0, 1))(arrays, argument)

    finite = [bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(gradients(arrays, argument))]
    check(part, all(finite), "all gradients must be finite")
