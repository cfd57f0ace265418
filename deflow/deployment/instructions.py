"""JAX's primitives as steps of the plain page, one function each."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .plain_policy import FUNCTIONS
from .steps import Program, Shape, Value

Rule = Callable[..., list[Value]]
"""(program, inputs, shapes and types of the outputs, **parameters of the primitive) -> the outputs."""

RULES: dict[str, Rule] = {}
"""By the primitive's name. Primitives that act on each entry are not among them: see `FUNCTIONS` in the plain page."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Adds a rule for primitives of these names."""

    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


def each(program: Program, do: str, inputs: list[Value], made: Any, **settings: Any) -> list[Value]:
    """A step that acts on each entry. Its inputs need not be repeated before: its output is."""
    held = tuple(
        next((value.held[axis] for value in inputs if value.held and value.held[axis] != 1), 1)
        for axis in range(len(made.shape))
    )
    return program.step(do, inputs, (made.shape, held, made.dtype), **settings)


def is_each(name: str) -> bool:
    """Whether a primitive is a function of the plain page."""
    return name in FUNCTIONS


@rule("copy", "copy_p", "stop_gradient", "optimization_barrier")
def _same(program: Program, inputs: list[Value], made: Any, **_: Any) -> list[Value]:
    return inputs


@rule("add_any")
def _add(program: Program, inputs: list[Value], made: Any, **_: Any) -> list[Value]:
    return each(program, "add", inputs, made[0])


@rule("integer_pow")
def _power(program: Program, inputs: list[Value], made: Any, *, y: int, **_: Any) -> list[Value]:
    return each(program, "integer_pow", inputs, made[0], y=int(y))


@rule("convert_element_type")
def _convert(program: Program, inputs: list[Value], made: Any, **_: Any) -> list[Value]:
    if inputs[0].dtype == made[0].dtype:
        return inputs
    return each(program, "convert", inputs, made[0], type=np.dtype(made[0].dtype).name)


@rule("broadcast_in_dim")
def _broadcast(
    program: Program, inputs: list[Value], made: Any, *, shape: Shape, broadcast_dimensions: Any, **_: Any
) -> list[Value]:
    held = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, inputs[0].held, strict=True):
        held[axis] = size
    return [program.reshaped(inputs[0], shape, tuple(held))]


@rule("reshape", "squeeze", "expand_dims")
def _reshape(program: Program, inputs: list[Value], made: Any, *, dimensions: Any = None, **_: Any) -> list[Value]:
    (value,), shape = inputs, made[0].shape
    if len(shape) < len(value.shape) and dimensions is not None:
        held = tuple(size for axis, size in enumerate(value.held) if axis not in dimensions)
        return [program.reshaped(value, shape, held)]
    return [program.reshaped(program.whole(value), shape, shape)]


@rule("transpose")
def _transpose(program: Program, inputs: list[Value], made: Any, *, permutation: Any, **_: Any) -> list[Value]:
    return [transposed(program, inputs[0], [int(axis) for axis in permutation])]


def transposed(program: Program, value: Value, axes: list[int]) -> Value:
    """The value with its axes in this order."""
    if axes == list(range(len(axes))):
        return value
    shape, held = (tuple(sizes[axis] for axis in axes) for sizes in (value.shape, value.held))
    return program.step("transpose", [value], (shape, held, value.dtype), axes=axes)[0]


@rule("concatenate")
def _concatenate(program: Program, inputs: list[Value], made: Any, *, dimension: int, **_: Any) -> list[Value]:
    axes = [
        axis
        for axis in range(len(made[0].shape))
        if axis == dimension or any(value.held[axis] != 1 for value in inputs)
    ]
    parts = [program.whole(value, axes) for value in inputs]
    held = tuple(
        made[0].shape[axis] if axis == dimension else parts[0].held[axis] for axis in range(len(made[0].shape))
    )
    return program.step("concatenate", parts, (made[0].shape, held, made[0].dtype), axis=int(dimension))


@rule("dot_general")
def _dot(program: Program, inputs: list[Value], made: Any, *, dimension_numbers: Any, **_: Any) -> list[Value]:
    (summed_x, summed_y), (shared_x, shared_y) = (tuple(map(list, pair)) for pair in dimension_numbers)
    x, y = (
        program.whole(value, [*summed, *shared])
        for value, summed, shared in zip(inputs, (summed_x, summed_y), (shared_x, shared_y), strict=True)
    )
    free_x = [axis for axis in range(len(x.shape)) if axis not in (*summed_x, *shared_x)]
    free_y = [axis for axis in range(len(y.shape)) if axis not in (*summed_y, *shared_y)]
    x = transposed(program, x, [int(axis) for axis in (*shared_x, *free_x, *summed_x)])
    y = transposed(program, y, [int(axis) for axis in (*shared_y, *summed_y, *free_y)])
    held = (*x.held[: len(x.held) - len(summed_x)], *y.held[len(shared_y) + len(summed_y) :])
    return program.step("dot", [x, y], (made[0].shape, held, made[0].dtype), batch=len(shared_x), contract=len(summed_x))


REDUCTIONS = {
    "reduce_sum": "add",
    "reduce_prod": "mul",
    "reduce_max": "max",
    "reduce_min": "min",
    "reduce_and": "and",
    "reduce_or": "or",
    "reduce_xor": "xor",
}
"""The function that each reduction repeats."""


def reduced(program: Program, do: str, inputs: list[Value], made: Any, axes: Any) -> list[Value]:
    """A reduction over axes."""
    value = program.whole(inputs[0], axes)
    held = tuple(size for axis, size in enumerate(value.held) if axis not in axes)
    chosen = [int(axis) for axis in axes]
    return program.step("reduce", [value], (made[0].shape, held, made[0].dtype), axes=chosen, **{"with": do})
