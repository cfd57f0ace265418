"""JAX's primitives as steps of the plain page: those that cut, extend or order arrays at known places."""

import itertools
from typing import Any

import jax
import numpy as np

from .rules import concatenated, each, rule
from .steps import Made, Program, Value, unsupported


def whole(made: Any) -> Made:
    """What a step makes that repeats nothing later."""
    return made.shape, made.shape, made.dtype


@rule("iota")
def _iota(program: Program, inputs: list[Value], made: Any, *, dimension: int, **_: Any) -> list[Value]:
    shape, dtype = made[0].shape, np.dtype(made[0].dtype)
    layout = [-1 if axis == dimension else 1 for axis in range(len(shape))]
    if not isinstance(shape[dimension], int):
        raise unsupported("numbering of the batch's entries")
    return [program.constant(np.arange(shape[dimension], dtype=dtype).reshape(layout), shape)]


@rule("slice")
def _slice(
    program: Program, inputs: list[Value], made: Any, *, start_indices: Any, limit_indices: Any, strides: Any, **_: Any
) -> list[Value]:
    """Along the batch's axis a slice ends where the axis does."""
    value, cuts = program.whole(inputs[0]), []
    strides = [1] * len(start_indices) if strides is None else strides
    for size, start, limit, stride in zip(value.shape, start_indices, limit_indices, strides, strict=True):
        end = [None] if limit == size else program.sizes((limit,))
        cuts.append([int(start), *end, int(stride)])
    return program.step("slice", [value], whole(made[0]), cuts=cuts)


def cut(program: Program, value: Value, axis: int, start: int, size: Any) -> Value:
    """As many entries along an axis, from a start on."""
    cuts = [[start, start + size, 1] if other == axis else [0, None, 1] for other in range(len(value.shape))]
    shape, held = ((*sizes[:axis], size, *sizes[axis + 1 :]) for sizes in (value.shape, value.held))
    return program.step("slice", [program.whole(value, [axis])], (shape, held, value.dtype), cuts=cuts)[0]


@rule("split")
def _split(program: Program, inputs: list[Value], made: Any, *, sizes: Any, axis: int, **_: Any) -> list[Value]:
    starts = itertools.accumulate(map(int, sizes), initial=0)
    return [cut(program, inputs[0], int(axis), start, int(size)) for start, size in zip(starts, sizes, strict=False)]


@rule("unstack")
def _unstack(program: Program, inputs: list[Value], made: Any, *, axis: int, **_: Any) -> list[Value]:
    parts = [cut(program, inputs[0], int(axis), start, 1) for start in range(len(made))]
    held = (*inputs[0].held[:axis], *inputs[0].held[axis + 1 :])
    return [program.reshaped(part, made[0].shape, held) for part in parts]


@rule("pad")
def _pad(program: Program, inputs: list[Value], made: Any, *, padding_config: Any, **_: Any) -> list[Value]:
    """By concatenation. A negative number of entries is taken away."""
    value, filling = inputs
    for axis, (before, after, between) in enumerate(padding_config):
        if between:
            raise unsupported("entries added between others")
        if before < 0 or after < 0:
            taken = [max(-int(before), 0), max(-int(after), 0)]
            value = cut(program, value, axis, taken[0], value.shape[axis] - sum(taken))
        ones = [1] * len(value.shape)
        sides = [(*value.shape[:axis], max(int(n), 0), *value.shape[axis + 1 :]) for n in (before, after)]
        first, last = (program.reshaped(filling, shape, tuple(ones)) for shape in sides)
        parts = [side for side in (first, value, last) if side.shape[axis] != 0]
        value = concatenated(program, parts, axis)
    return [value]


@rule("sort")
def _sort(program: Program, inputs: list[Value], made: Any, *, dimension: int, num_keys: int, **_: Any) -> list[Value]:
    if num_keys > 1:
        raise unsupported("sorting by several keys")
    return program.step("sort", map(program.whole, inputs), *map(whole, made), axis=int(dimension))


@rule("top_k")
def _top_k(program: Program, inputs: list[Value], made: Any, *, k: int, axis: int, **_: Any) -> list[Value]:
    """By sorting the negative entries, and where they were with them."""
    values, places = made
    if values.dtype.kind not in "fi":
        raise unsupported(f"largest entries of type {values.dtype}")
    shape, axis = inputs[0].shape, int(axis)
    whole_places = jax.ShapeDtypeStruct(shape, places.dtype)
    negative = each(program, "neg", inputs, inputs[0])
    keys = [*negative, *_iota(program, [], [whole_places], dimension=axis)]
    found = _sort(program, keys, [inputs[0], whole_places], dimension=axis, num_keys=1)
    negative, places = (cut(program, value, axis, 0, int(k)) for value in found)
    return [*each(program, "neg", [negative], negative), places]
