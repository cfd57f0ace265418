"""Walks through a traced function and has each primitive become steps of a plain program, or refuses it."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.extend
import numpy as np

from .rules import RULES
from .steps import Program, Value, unsupported

_TYPES = ("float32", "int32", "uint32", "int16", "uint16", "int8", "uint8", "bool")
_CALLS = {
    **dict.fromkeys(("jit", "pjit", "remat", "remat2", "checkpoint"), "jaxpr"),
    **dict.fromkeys(("closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"), "call_jaxpr"),
}
"""The primitives that call a function, and the parameter that holds it."""
_LIBRARIES = {"jax", "jaxlib", "equinox", "diffrax", "optax", "optimistix", "lineax", "numpy", "jaxtyping", "beartype"}


def walk(program: Program, jaxpr: Any, constants: Sequence[Any], inputs: Sequence[Value]) -> list[Value]:
    """Adds the steps of a traced function to the program, and gives the function's outputs.

    Raises:
        ExportError: If there is a primitive or a type that the plain page does not know.
    """
    known: dict[Any, Value] = dict(zip(jaxpr.invars, inputs, strict=True))
    for variable, constant in zip(jaxpr.constvars, constants, strict=True):
        known[variable] = program.constant(np.asarray(constant))

    def read(atom: Any) -> Value:
        if isinstance(atom, jax.extend.core.Literal):
            literal: Any = atom
            return program.constant(np.asarray(literal.val, literal.aval.dtype))
        return known[atom]

    for equation in jaxpr.eqns:
        outputs = _became(program, equation, [read(atom) for atom in equation.invars])
        known.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _became(program: Program, equation: Any, inputs: list[Value]) -> list[Value]:
    """The outputs of one primitive."""
    name, parameters = equation.primitive.name, equation.params
    made = [variable.aval for variable in equation.outvars]
    for number_type in (str(output.dtype) for output in made):
        if number_type not in _TYPES:
            raise unsupported(f"numbers of type {number_type}, which {_where(equation)} makes")
    if name in RULES:
        return RULES[name](program, inputs, made, **parameters)
    if name in _CALLS:
        called = parameters[_CALLS[name]]
        return walk(program, getattr(called, "jaxpr", called), getattr(called, "consts", ()), inputs)
    traced = _written_in_jax(equation)
    if traced is None:
        raise unsupported(f"NumPy code for the primitive '{name}', which {_where(equation)} uses")
    return walk(program, traced.jaxpr, traced.consts, inputs)


def _written_in_jax(equation: Any) -> Any:
    """A primitive that another library has written with those of JAX, traced. None for any other."""
    function = equation.primitive.impl
    if not inspect.isfunction(function) or function.__module__.startswith("jax."):
        return None
    inputs = [jax.ShapeDtypeStruct(atom.aval.shape, atom.aval.dtype) for atom in equation.invars]
    try:
        return jax.make_jaxpr(lambda *arrays: function(*arrays, **equation.params))(*inputs)
    except Exception:  # it may be written in anything
        return None


def _where(equation: Any) -> str:
    """The function that uses a primitive: the innermost that is not a library's."""
    traceback = equation.source_info.traceback
    for frame in traceback.frames if traceback is not None else ():
        parts = Path(frame.file_name).parts
        if not _LIBRARIES & {*parts} and frame.file_name.endswith(".py"):
            name = frame.function_name.rpartition(".")[2]
            return f"{name} in {'/'.join(parts[-2:])}, line {frame.line_num},"
    return "the policy"
