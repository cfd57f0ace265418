"""JAX's primitives as steps of the plain page: those that act on each entry, lay out, multiply or reduce.

Their parameters are JAX's. Those that choose a precision or a device are left out: NumPy has one of each.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .plain_policy import FUNCTIONS
from .steps import Program, Shape, Value, unsupported

Rule = Callable[..., list[Value]]
"""(program, inputs, outputs' shapes and types, **parameters of the primitive) -> the outputs."""

RULES: dict[str, Rule] = {}
"""By the primitive's name."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Decorator: what primitives with these names become."""

    def add(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return add


# --- on each entry


def each(program: Program, do: str, inputs: list[Value], made: Any, **settings: Any) -> list[Value]:
    """A step that acts on each entry. NumPy repeats its inputs where they differ in size."""
    sizes = [[value.held[axis] for value in inputs if value.held] for axis in range(len(made.shape))]
    held = tuple(next((size for size in found if size != 1), 1) for found in sizes)
    if any(value.constant is None for value in inputs):
        inputs = [_number(program, value) for value in inputs]
    return program.step(do, inputs, (made.shape, held, made.dtype), **settings)


def _number(program: Program, value: Value) -> Value:
    """A constant of one entry as a number: with it, NumPy is twice as quick as with an array. Others as they are."""
    if value.constant is None or value.constant.size != 1:
        return value
    return program.constant(value.constant.reshape(()))


def _each_of(name: str) -> Rule:
    return lambda program, inputs, made, **_: each(program, name, inputs, made[0])


RULES.update({name: _each_of(name) for name in FUNCTIONS})
RULES["add_any"] = _each_of("add")


@rule("copy", "stop_gradient")
def _same(program: Program, inputs: list[Value], made: Any, **_: Any) -> list[Value]:
    return inputs


@rule("integer_pow")
def _power(program: Program, inputs: list[Value], made: Any, *, y: int, **_: Any) -> list[Value]:
    """x^y by multiplications: np.power takes fifty times as long."""
    ones, found = program.constant(np.ones([1] * len(made[0].shape), made[0].dtype), made[0].shape), inputs[0]
    for bit in f"{abs(y):b}"[1:]:
        (found,) = each(program, "mul", [found, found], made[0])
        if bit == "1":
            (found,) = each(program, "mul", [found, inputs[0]], made[0])
    return [ones] if y == 0 else [found] if y > 0 else each(program, "div", [ones, found], made[0])


@rule("convert_element_type")
def _convert(program: Program, inputs: list[Value], made: Any, **_: Any) -> list[Value]:
    if inputs[0].dtype == made[0].dtype:
        return inputs
    return each(program, "convert", inputs, made[0], type=np.dtype(made[0].dtype).name)


@rule("bitcast_convert_type")
def _bits(program: Program, inputs: list[Value], made: Any, **_: Any) -> list[Value]:
    if inputs[0].dtype.itemsize != np.dtype(made[0].dtype).itemsize:
        raise unsupported(f"a change from {inputs[0].dtype} to {made[0].dtype} bit by bit")
    return each(program, "bits", inputs, made[0], type=np.dtype(made[0].dtype).name)


@rule("round")
def _round(program: Program, inputs: list[Value], made: Any, *, rounding_method: Any, **_: Any) -> list[Value]:
    if rounding_method != jax.lax.RoundingMethod.TO_NEAREST_EVEN:
        raise unsupported("rounding away from zero")
    return each(program, "rint", inputs, made[0])


@rule("reduce_precision")
def _precision(
    program: Program, inputs: list[Value], made: Any, *, exponent_bits: int, mantissa_bits: int, **_: Any
) -> list[Value]:
    if (exponent_bits, mantissa_bits) != (8, 23):
        raise unsupported("numbers of less than float32's precision")
    return inputs


# --- layout


@rule("broadcast_in_dim")
def _broadcast(
    program: Program, inputs: list[Value], made: Any, *, shape: Shape, broadcast_dimensions: Any, **_: Any
) -> list[Value]:
    held = [1] * len(shape)
    for axis, size in zip(broadcast_dimensions, inputs[0].held, strict=True):
        held[axis] = size
    return [program.reshaped(inputs[0], shape, tuple(held))]


@rule("squeeze")
def _squeeze(program: Program, inputs: list[Value], made: Any, *, dimensions: Any, **_: Any) -> list[Value]:
    held = tuple(size for axis, size in enumerate(inputs[0].held) if axis not in dimensions)
    return [program.reshaped(inputs[0], made[0].shape, held)]


@rule("reshape")
def _reshape(program: Program, inputs: list[Value], made: Any, **_: Any) -> list[Value]:
    return [program.reshaped(program.whole(inputs[0]), made[0].shape, made[0].shape)]


@rule("transpose")
def _transpose(program: Program, inputs: list[Value], made: Any, *, permutation: Any, **_: Any) -> list[Value]:
    return [transposed(program, inputs[0], permutation)]


def transposed(program: Program, value: Value, axes: Any) -> Value:
    """The value with its axes in this order."""
    axes = [int(axis) for axis in axes]
    if axes == list(range(len(axes))):
        return value
    shape, held = (tuple(sizes[axis] for axis in axes) for sizes in (value.shape, value.held))
    return program.step("transpose", [value], (shape, held, value.dtype), axes=axes)[0]


@rule("rev")
def _reverse(program: Program, inputs: list[Value], made: Any, *, dimensions: Any, **_: Any) -> list[Value]:
    return [reversed_along(program, inputs[0], dimensions)]


def reversed_along(program: Program, value: Value, axes: Any) -> Value:
    """The value with its entries in the opposite order along these axes."""
    return program.step("rev", [value], (value.shape, value.held, value.dtype), axes=[*map(int, axes)])[0]


@rule("concatenate")
def _concatenate(program: Program, inputs: list[Value], made: Any, *, dimension: int, **_: Any) -> list[Value]:
    return [concatenated(program, inputs, int(dimension))]


def concatenated(program: Program, parts: list[Value], dimension: int) -> Value:
    """The parts one after another. Axes along which all of them are still to be repeated stay so."""
    if len(parts) == 1:
        return parts[0]
    rank = range(len(parts[0].shape))
    axes = [axis for axis in rank if axis == dimension or any(part.held[axis] != 1 for part in parts)]
    parts = [program.whole(part, axes) for part in parts]
    shape, held = (
        tuple(sum(size[axis] for size in sizes) if axis == dimension else sizes[0][axis] for axis in rank)
        for sizes in ([part.shape for part in parts], [part.held for part in parts])
    )
    return program.step("concatenate", parts, (shape, held, parts[0].dtype), axis=dimension)[0]


@rule("stack")
def _stack(program: Program, inputs: list[Value], made: Any, *, axis: int, **_: Any) -> list[Value]:
    def with_axis(sizes: Shape) -> Shape:
        return (*sizes[:axis], 1, *sizes[axis:])

    parts = [program.reshaped(value, with_axis(value.shape), with_axis(value.held)) for value in inputs]
    return [concatenated(program, parts, int(axis))]


@rule("tile")
def _tile(program: Program, inputs: list[Value], made: Any, *, reps: Any, **_: Any) -> list[Value]:
    (value,) = inputs
    for axis, times in enumerate(reps):
        value = concatenated(program, [value] * int(times), axis)
    return [value]


# --- products and reductions


@rule("dot_general")
def _dot(program: Program, inputs: list[Value], made: Any, *, dimension_numbers: Any, **_: Any) -> list[Value]:
    """Laid out for `dot` of the plain page: shared axes first; the summed ones last in x, and before y's own in y."""
    (summed_x, summed_y), (shared_x, shared_y) = dimension_numbers
    x, y = (_convert(program, [value], made)[0] for value in inputs)
    x, y = program.whole(x, [*summed_x, *shared_x]), program.whole(y, [*summed_y, *shared_y])
    own_x = [axis for axis in range(len(x.shape)) if axis not in (*summed_x, *shared_x)]
    own_y = [axis for axis in range(len(y.shape)) if axis not in (*summed_y, *shared_y)]
    x = transposed(program, x, [*shared_x, *own_x, *summed_x])
    y = transposed(program, y, [*shared_y, *summed_y, *own_y])
    shared, summed = len(shared_x), len(summed_x)
    held = (*x.held[: len(x.held) - summed], *y.held[shared + summed :])
    made_here = made[0].shape, held, made[0].dtype
    if (shared, summed, len(y.shape)) == (0, 1, 2):
        return program.step("dot", [x, y], made_here)
    return program.step("product", [x, y], made_here, shared=shared, summed=summed)


def _reduction(do: str) -> Rule:
    def reduced(program: Program, inputs: list[Value], made: Any, *, axes: Any, **_: Any) -> list[Value]:
        value = program.whole(inputs[0], axes)
        held = tuple(size for axis, size in enumerate(value.held) if axis not in axes)
        return program.step("reduce", [value], (made[0].shape, held, made[0].dtype), by=do, axes=[*map(int, axes)])

    return reduced


def _accumulation(do: str) -> Rule:
    def accumulated(
        program: Program, inputs: list[Value], made: Any, *, axis: int, reverse: bool, **_: Any
    ) -> list[Value]:
        value = reversed_along(program, inputs[0], [axis]) if reverse else program.whole(inputs[0], [axis])
        found = program.step("accumulate", [value], (value.shape, value.held, value.dtype), by=do, axis=int(axis))
        return [reversed_along(program, found[0], [axis])] if reverse else found

    return accumulated


_REDUCTIONS = {"sum": "add", "prod": "mul", "max": "max", "min": "min", "and": "and", "or": "or", "xor": "xor"}
RULES.update({f"reduce_{name}": _reduction(do) for name, do in _REDUCTIONS.items()})
RULES.update({f"cum{name}": _accumulation(_REDUCTIONS[name]) for name in ("sum", "prod", "max", "min")})


def _position(do: str) -> Rule:
    def position(
        program: Program, inputs: list[Value], made: Any, *, axes: Any, index_dtype: Any, **_: Any
    ) -> list[Value]:
        value, axis = program.whole(inputs[0], axes), int(axes[0])
        held = (*value.held[:axis], *value.held[axis + 1 :])
        return program.step(
            do, [value], (made[0].shape, held, made[0].dtype), axis=axis, type=np.dtype(index_dtype).name
        )

    return position


RULES.update(argmax=_position("argmax"), argmin=_position("argmin"))
