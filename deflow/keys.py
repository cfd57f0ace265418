"""Randomness: one key, split by name."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key


def named_key(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    """A key for one purpose. Adding a purpose does not change what the others draw."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))


def check_seeds(what: str, *seeds: int) -> None:
    """Refuse seeds that JAX takes for another one: it looks at 32 bits, so 2**32 would be 0.

    Raises:
        ValueError: If one is negative or too large.
    """
    for seed in seeds:
        if not 0 <= seed < 1 << 32:
            raise ValueError(f"{what} must be from 0 to {(1 << 32) - 1:,}, got {seed}.")


def check_key(key: Any) -> None:
    """Check that `key` is a typed random key.

    Raises:
        TypeError: Says how keys are made.
    """
    if not isinstance(key, jax.Array):
        raise TypeError(f"key must be made by jax.random.key(seed), got {key!r}.")
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        raise TypeError(
            f"key must be made by jax.random.key(seed), got an array of type {key.dtype} (jax.random.PRNGKey makes "
            "old-style keys)."
        )
