"""A JAX function as a plain program: steps that need NumPy alone, and arrays.

The function is traced for a batch of any size. What it calls is written out, and what depends on constants alone is
computed beforehand.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from . import indexing, nesting, picking  # noqa: F401 - their rules
from .steps import Program
from .walking import walk
from .writing import Arrays, written


def lower(function: Callable[..., Any], *samples: jax.ShapeDtypeStruct) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The program of a function from batches to one batch, and the arrays that it uses.

    Args:
        function: Its arguments have one more axis in front than the samples, as does its result. What it closes over
            becomes constants.
        samples: The shape and type of one sample of each argument.

    Returns:
        The program as JSON in the form that `plain_policy.py` runs, and its arrays.

    Raises:
        ExportError: If the function has a primitive or a type that the plain page does not know.
    """
    (batch,) = jax.export.symbolic_shape("b")
    shapes = [(batch, *sample.shape) for sample in samples]
    arguments = [jax.ShapeDtypeStruct(shape, sample.dtype) for shape, sample in zip(shapes, samples, strict=True)]
    traced = jax.make_jaxpr(function)(*arguments)
    program, arrays = Program(batch), Arrays()
    inputs = [program.input(argument.shape, argument.dtype) for argument in arguments]
    program.outputs = [program.whole(value) for value in walk(program, traced.jaxpr, traced.consts, inputs)]
    page = written(program, arrays)
    given = [{"shape": list(sample.shape), "type": np.dtype(sample.dtype).name} for sample in samples]
    return {"given": given, **page, "arrays": len(arrays.arrays)}, arrays.arrays
