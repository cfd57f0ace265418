"""The precision of matrix products."""

from contextlib import AbstractContextManager
from typing import Literal

import jax

Precision = Literal["float32", "bfloat16"]
"""`bfloat16`: factors of matrix products are rounded to bfloat16 and summed in float32; all else stays float32."""


def matmul_precision(precision: Precision) -> AbstractContextManager:
    """While tracing, the networks' products take this precision; on accelerators all others do, too."""
    return jax.default_matmul_precision(precision)
