"""JAX's primitives as steps of the plain page: those whose places are computed, gather and scatter.

Both have an array, windows of it, and indices that say where these start; windows are what is picked or what is put
there. `_layout` says in other words what JAX's dimension numbers say.
"""

from typing import Any

import numpy as np
from jax.lax import GatherScatterMode

from .indexing import whole
from .rules import RULES, Rule, concatenated, rule
from .steps import Program, Value


def _layout(
    program: Program, value: Value, sizes: Any, *, rank: int, along: Any, without: Any, columns: Any, together: Any
) -> dict[str, Any]:
    """For each axis of the value: which axis of all windows its own lie along, which column of the indices says where
    they start, and their size (None for all of the axis).

    Args:
        program: The program.
        value: The array that has the windows.
        sizes: The sizes of one window.
        rank: The number of axes of all windows, those of the indices included.
        along: The axes that one window has.
        without: The axes of the value that a window lacks.
        columns: The axes of the value that the columns of the indices are for.
        together: Axes of the value that go with axes of the indices.
    """
    rest = [axis for axis in range(rank) if axis not in along]
    own = [axis for axis in range(len(value.shape)) if axis not in without and axis not in together]
    lies = {**dict(zip(own, along, strict=True)), **{axis: rest[other] for axis, other in together.items()}}
    column = {axis: number for number, axis in enumerate(columns)}
    axes = range(len(value.shape))
    return {
        "lies": [int(lies[axis]) if axis in lies else None for axis in axes],
        "starts": [column.get(axis) for axis in axes],
        "sizes": [
            None if axis in together or sizes[axis] == value.shape[axis] else program.sizes((sizes[axis],))[0]
            for axis in axes
        ],
        "rest": rest,
        "rank": rank,
    }


@rule("gather")
def _gather(program: Program, inputs: list[Value], made: Any, **parameters: Any) -> list[Value]:
    numbers, (value, indices) = parameters["dimension_numbers"], map(program.whole, inputs)
    layout = _layout(
        program,
        value,
        parameters["slice_sizes"],
        rank=len(made[0].shape),
        along=numbers.offset_dims,
        without=numbers.collapsed_slice_dims,
        columns=numbers.start_index_map,
        together=dict(zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)),
    )
    fill = None
    if GatherScatterMode.from_any(parameters["mode"]) == GatherScatterMode.FILL_OR_DROP:
        given = parameters["fill_value"]
        fill = _outside(value.dtype) if given is None else np.asarray(given).item()
    return program.step("gather", [value, indices], whole(made[0]), fill=fill, **layout)


def _outside(dtype: np.dtype) -> Any:
    """What JAX reads outside of an array."""
    if dtype.kind == "f":
        return float("nan")
    return True if dtype.kind == "b" else int(np.iinfo(dtype).max if dtype.kind == "u" else np.iinfo(dtype).min)


def _scatter(do: str | None) -> Rule:
    def scattered(program: Program, inputs: list[Value], made: Any, **parameters: Any) -> list[Value]:
        numbers, (value, indices, updates) = parameters["dimension_numbers"], map(program.whole, inputs)
        without = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
        own = [axis for axis in range(len(value.shape)) if axis not in without]
        sizes = {axis: updates.shape[other] for axis, other in zip(own, numbers.update_window_dims, strict=True)}
        layout = _layout(
            program,
            value,
            [sizes.get(axis, 1) for axis in range(len(value.shape))],
            rank=len(updates.shape),
            along=numbers.update_window_dims,
            without=numbers.inserted_window_dims,
            columns=numbers.scatter_dims_to_operand_dims,
            together=dict(zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)),
        )
        drop = GatherScatterMode.from_any(parameters["mode"]) == GatherScatterMode.FILL_OR_DROP
        return program.step("scatter", [value, indices, updates], whole(made[0]), by=do, drop=drop, **layout)

    return scattered


_SCATTERS = {"": None, "-add": "add", "-sub": "sub", "-mul": "mul", "-min": "min", "-max": "max"}
RULES.update({f"scatter{name}": _scatter(do) for name, do in _SCATTERS.items()})


@rule("dynamic_slice")
def _dynamic_slice(program: Program, inputs: list[Value], made: Any, *, slice_sizes: Any, **_: Any) -> list[Value]:
    value, *starts = map(program.whole, inputs)
    window = _window(program, value, slice_sizes)
    return program.step("gather", [value, _indices(program, starts)], whole(made[0]), fill=None, **window)


@rule("dynamic_update_slice")
def _dynamic_update(program: Program, inputs: list[Value], made: Any, **_: Any) -> list[Value]:
    value, update, *starts = map(program.whole, inputs)
    given = [value, _indices(program, starts), update]
    return program.step("scatter", given, whole(made[0]), by=None, drop=False, **_window(program, value, update.shape))


def _window(program: Program, value: Value, sizes: Any) -> dict[str, Any]:
    """The layout of one window that lies as the value does."""
    axes = range(len(value.shape))
    return _layout(program, value, sizes, rank=len(axes), along=axes, without=(), columns=axes, together={})


def _indices(program: Program, starts: list[Value]) -> Value:
    """Numbers as the indices of one window."""
    return concatenated(program, [program.reshaped(start, (1,), (1,)) for start in starts], 0)
