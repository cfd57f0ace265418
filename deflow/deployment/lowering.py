"""A JAX function as a plain program: steps that need NumPy alone, and arrays.

The function is traced with a batch of any size. What it calls is written out, what depends on constants alone is
computed beforehand, and a primitive without a rule is refused.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np

from ..errors import ExportError
from .instructions import REDUCTIONS, RULES, each, is_each, reduced
from .steps import Program, Value
from .writing import Arrays, written

_TYPES = ("float32", "int32", "uint32", "uint8", "bool")
_CALLS = ("call_jaxpr", "jaxpr", "fun_jaxpr")


def lower(function: Callable[..., Any], *samples: jax.ShapeDtypeStruct) -> tuple[dict[str, Any], list[np.ndarray]]:
    """The program of a function that maps batches to a batch, and the arrays that it uses.

    Args:
        function: Its arguments are arrays with one more axis in front than the samples. Weights are its constants.
        samples: The shape and type of one sample of each argument.

    Returns:
        The program as JSON, in the form that `plain_policy.py` runs, and its arrays c0, c1, ...

    Raises:
        ExportError: If the function has a primitive or a type that the plain page does not know.
    """
    (batch,) = jax.export.symbolic_shape("b")
    traced = jax.make_jaxpr(function)(*(jax.ShapeDtypeStruct((batch, *x.shape), x.dtype) for x in samples))
    program = Program(batch)
    inputs = [program.input((batch, *x.shape), x.dtype) for x in samples]
    outputs = run(program, traced.jaxpr, traced.consts, inputs)
    program.outputs = [program.whole(value) for value in outputs]
    arrays = Arrays()
    page = written(program, arrays)
    given = [{"shape": list(x.shape), "type": np.dtype(x.dtype).name} for x in samples]
    return {"given": given, **page, "arrays": len(arrays.arrays)}, arrays.arrays


def run(program: Program, jaxpr: Any, constants: Any, inputs: list[Value]) -> list[Value]:
    """Adds the steps of a traced function to a program, and gives its outputs."""
    known: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    known.update({variable: program.constant(_array(x)) for variable, x in zip(jaxpr.constvars, constants, strict=True)})

    def read(atom: Any) -> Value:
        return program.constant(_array(atom.val)) if isinstance(atom, jax.extend.core.Literal) else known[atom]

    for equation in jaxpr.eqns:
        outputs = _equation(program, equation, [read(atom) for atom in equation.invars])
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _array(constant: Any) -> np.ndarray:
    return np.asarray(constant)


def _equation(program: Program, equation: Any, inputs: list[Value]) -> list[Value]:
    name, settings = equation.primitive.name, equation.params
    made = [variable.aval for variable in equation.outvars]
    if name in RULES:
        return RULES[name](program, inputs, made, **settings)
    if is_each(name):
        return each(program, name, inputs, made[0])
    if name in REDUCTIONS:
        return reduced(program, REDUCTIONS[name], inputs, made, settings["axes"])
    for inner in (settings[key] for key in _CALLS if key in settings):
        jaxpr = getattr(inner, "jaxpr", inner)
        return run(program, jaxpr, getattr(inner, "consts", ()), inputs)
    raise ExportError(name)
