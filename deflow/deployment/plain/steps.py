"""A plain program while it is made: values, and the steps that make them. Equal steps and equal constants are one."""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ...errors import ExportError
from .plain_policy import compiled, follow

_FOLDED = 4096  # bytes up to which what depends on constants alone is computed when exporting, not when loading

Shape = tuple[Any, ...]
"""Sizes: numbers, and the batch's as `jax.export` writes it."""

Made = tuple[Shape, Shape, Any]
"""What a step makes: the fields `shape`, `held` and `dtype` of a value."""


@dataclasses.dataclass(frozen=True, eq=False)
class Value:
    """A constant, an input, or what a step makes."""

    shape: Shape
    """Its shape in the traced program."""
    held: Shape
    """The shape of the array: it has a 1 where it is still to be repeated to `shape`."""
    dtype: np.dtype
    fixed: bool = False
    """Whether it depends on constants alone."""
    constant: np.ndarray | None = None
    """The array, where it is known."""
    lies: object = dataclasses.field(default_factory=object)
    """Where it lies, alone or with values that differ in `shape`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Step:
    """One call of a function of the plain page."""

    do: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    settings: dict[str, Any]
    fixed: bool
    """Whether it depends on constants alone, so that it is done once, when the policy is loaded."""


class Program:
    """Steps, in order. The first input is the size of the batch."""

    def __init__(self, batch: Any):
        self.batch = batch
        self.inputs = [Value((), (), np.dtype(np.int32))]
        self.outputs: Sequence[Value] = ()
        self.steps: list[Step] = []
        self._known: dict[Any, list[Value]] = {}
        self._constants: dict[Any, Value] = {}

    @property
    def batch_size(self) -> Value:
        """The size of the batch, as an input."""
        return self.inputs[0]

    def input(self, shape: Shape, dtype: Any) -> Value:
        """One more input, of the whole shape."""
        self.inputs.append(Value(shape, shape, np.dtype(dtype)))
        return self.inputs[-1]

    def constant(self, array: np.ndarray, shape: Shape | None = None) -> Value:
        """A known array, to be repeated to `shape`."""
        value = Value(array.shape, array.shape, array.dtype, fixed=True, constant=array)
        value = self._constants.setdefault(content(array), value)
        return value if shape is None else dataclasses.replace(value, shape=shape)

    def sizes(self, shape: Shape) -> list[Any]:
        """A shape as JSON: "b" is the size of the batch.

        Raises:
            ExportError: If a size is computed from the batch's.
        """
        for size in shape:
            if not isinstance(size, int | np.integer) and size != self.batch:
                raise unsupported(f"arrays whose size is computed from the batch's, such as {shape}")
        return [int(size) if isinstance(size, int | np.integer) else "b" for size in shape]

    def step(self, do: str, inputs: Iterable[Value], *made: Made, **settings: Any) -> list[Value]:
        """The outputs of a step. It is added unless there is an equal one, or it can be done now."""
        inputs = tuple(inputs)
        if self._can_be_done(inputs, made, settings):
            return self._done(do, inputs, made, settings)
        fixed = all(value.fixed for value in inputs)
        known = (do, tuple(value.lies for value in inputs), json.dumps(settings, default=id))
        if known not in self._known:
            self._known[known] = [Value(shape, held, np.dtype(dtype), fixed) for shape, held, dtype in made]
            self.steps.append(Step(do, inputs, tuple(self._known[known]), settings, fixed))
        outputs = zip(self._known[known], made, strict=True)
        return [dataclasses.replace(value, shape=shape) for value, (shape, _, _) in outputs]

    def whole(self, value: Value, axes: Iterable[int] | None = None) -> Value:
        """The value, repeated to its shape along these axes (default: all)."""
        axes = range(len(value.shape)) if axes is None else axes
        held = tuple(value.shape[axis] if axis in axes else size for axis, size in enumerate(value.held))
        if held == value.held:
            return value
        sizes = self.sizes(held)
        inputs = (value, self.batch_size) if "b" in sizes else (value,)
        return self.step("broadcast", inputs, (value.shape, held, value.dtype), shape=sizes)[0]

    def reshaped(self, value: Value, shape: Shape, held: Shape) -> Value:
        """The same numbers in another shape."""
        if held == value.held:
            return dataclasses.replace(value, shape=shape)
        numbers = [isinstance(size, int | np.integer) for size in held]
        if 0 in held:
            return self.constant(
                np.zeros([size if n else 1 for size, n in zip(held, numbers, strict=True)], value.dtype), shape
            )
        if numbers.count(False) > 1:
            raise unsupported(f"arrays with several axes as long as the batch, such as {held}")
        sizes = [int(size) if n else -1 for size, n in zip(held, numbers, strict=True)]
        return self.step("reshape", [value], (shape, held, value.dtype), shape=sizes)[0]

    def _can_be_done(self, inputs: tuple[Value, ...], made: tuple[Made, ...], settings: dict[str, Any]) -> bool:
        """Whether the outputs can be computed now without making the file larger."""
        constants = [value.constant for value in inputs if value.constant is not None]
        if len(constants) < len(inputs) or "programs" in settings:
            return False
        size = sum(int(np.prod(held)) * np.dtype(dtype).itemsize for _, held, dtype in made)
        return size <= _FOLDED or size < sum(array.nbytes for array in constants)

    def _done(
        self, do: str, inputs: tuple[Value, ...], made: tuple[Made, ...], settings: dict[str, Any]
    ) -> list[Value]:
        places: list[Any] = [*(value.constant for value in inputs), *(None for _ in made)]
        numbers = list(range(len(places)))
        step = {"do": do, "in": numbers[: len(inputs)], "out": numbers[len(inputs) :], **settings}
        with np.errstate(all="ignore"):
            follow([compiled(step, [])], places)
        arrays = places[len(inputs) :]
        return [self.constant(np.asarray(array), shape) for array, (shape, _, _) in zip(arrays, made, strict=True)]


def content(array: np.ndarray) -> Any:
    """What is equal for equal arrays alone."""
    return array.dtype.str, array.shape, hashlib.sha256(array.tobytes()).digest()


def unsupported(what: str) -> ExportError:
    """The error for what the plain page cannot do."""
    return ExportError(f"The format numpy has no {what}: choose the format stablehlo, or another part.")
