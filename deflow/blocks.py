"""Many rows at once or, on CPUs, in blocks whose intermediate results stay in the processor's cache."""

from collections.abc import Callable
from typing import Any

import jax

from .workers import usable_cores

ROWS = 512 * usable_cores()
"""Rows of a block. Fewer leave cores waiting for each other, and the activations of more leave their caches."""


def in_blocks(function: Callable[..., Any], *inputs: Any, rows: int = 1) -> Any:
    """`jax.vmap(function)(*inputs)`: on CPUs, where there is more than a block, one block after another.

    `rows` is how many rows an entry of the inputs stands for, such as those of a batch outside of this call. There is
    no axis inside for a single entry: exported programs are quicker without it.
    """
    count = len(jax.tree.leaves(inputs)[0])
    together = max(ROWS // rows, 1)
    if count == 1:
        return jax.tree.map(lambda leaf: leaf[None], function(*jax.tree.map(lambda leaf: leaf[0], inputs)))
    if count <= together or jax.default_backend() != "cpu":
        return jax.vmap(function)(*inputs)
    return jax.lax.map(lambda entries: function(*entries), inputs, batch_size=together)
