"""The precision of matrix products."""

from contextlib import AbstractContextManager
from typing import Literal

import jax

Precision = Literal["float32", "bfloat16"]
"""`bfloat16` rounds the factors of matrix products to bfloat16 and sums in float32; everything else is float32."""


def matmul_precision(precision: Precision) -> AbstractContextManager:
    """A context for tracing in which the networks' products, and on accelerators all others, have this precision."""
    return jax.default_matmul_precision(precision)
