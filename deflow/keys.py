"""Randomness: one key, split by name."""

import zlib

import jax
from jaxtyping import Array, Key


def named_key(key: Key[Array, ""], name: str) -> Key[Array, ""]:
    """A key for one purpose. Adding a purpose does not change what the others draw."""
    return jax.random.fold_in(key, zlib.crc32(name.encode()))
