"""Columns: what of a recording can be measured, and what to do about the rest. Nothing here refuses odd data."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ...environments import check_images
from ...errors import SpaceError
from ..endings import FLAGS
from ..readers import Recording

WIDE = 1_000
"""Rows of more numbers than this, and images, are described as a whole instead of coordinate by coordinate."""

NEEDED = {
    "observations": "name its columns with columns.observation",
    "actions": "name its columns with columns.action",
}
"""Columns without which nothing can be learned -> the remedy."""

_BLOCK = 2**18  # numbers that are converted at a time


@dataclasses.dataclass(frozen=True)
class Column:
    """Numbers, one row per step."""

    name: str
    """Of the recording, such as `observations`."""

    values: np.ndarray
    """Shape (N, D), in the type in which they were recorded."""

    shape: tuple[int, ...]
    """Of one row, as recorded."""

    coordinates: tuple[str, ...]
    """A name for each of the D numbers; their index where the source has none."""

    @property
    def described_as_a_whole(self) -> bool:
        """Whether its coordinates are too many to be looked at one by one."""
        return len(self.shape) > 1 or self.values.shape[1] > WIDE

    @property
    def in_words(self) -> str:
        """Its size and type: `28 numbers (float32)`."""
        size = " x ".join(map(str, self.shape)) if len(self.shape) > 1 else str(self.values.shape[1])
        return f"{size} number{'s' * (size != '1')} ({self.values.dtype})"


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a recording that are numbers."""

    of: dict[str, Column]
    """By name."""

    rows: int
    """Number of steps: of the observations, or of what else there is."""

    warnings: tuple[str, ...]
    """What is wrong with the others, and what to do."""

    def aligned(self, name: str) -> Column | None:
        """A column with one row per step; None if it is missing, or of another length."""
        column = self.of.get(name)
        return column if column is not None and len(column.values) == self.rows else None

    def vectors(self, name: str) -> Column | None:
        """An aligned column that can be looked at one coordinate at a time."""
        column = self.aligned(name)
        return None if column is None or column.described_as_a_whole else column

    def single(self, name: str) -> np.ndarray | None:
        """An aligned column with one number per row, shape (N,)."""
        column = self.aligned(name)
        return None if column is None or column.values.shape[1] != 1 else column.values[:, 0]


def examine(recording: Recording) -> Columns:
    """Sorts the columns of a recording."""
    of: dict[str, Column] = {}
    warnings = []
    for name in ("observations", "actions", "rewards", "next_observations", *FLAGS):
        if name not in recording.columns:
            continue
        array = _array(recording.columns[name])
        if isinstance(array, str):
            warnings.append(f"The {name} are {array}: save them as numbers, one row per step.")
        elif (size := math.prod(array.shape[1:])) == 0:
            warnings.append(f"The {name} have no numbers in a row (shape {array.shape}): save at least one per step.")
        else:
            values = array.reshape(len(array), size)
            of[name] = Column(name, values, array.shape[1:], _coordinates(recording.names, name, size))
            warnings += _shape(of[name], of.get("observations"))
    for name, remedy in NEEDED.items():
        if name not in recording.columns:
            warnings.append(f"There are no {name}: {remedy}.")
    lengths = {name: len(column.values) for name, column in of.items()}
    rows = next(iter(lengths.values()), 0)
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{length:,} of {name}" for name, length in lengths.items())
        warnings.append(f"The columns have different lengths ({said}): every column needs one row per step.")
    return Columns(of, rows, tuple(warnings))


def slices(values: np.ndarray) -> Iterator[slice]:
    """A few rows of a matrix at a time, so that a converted copy of it is never in memory."""
    size = max(1, _BLOCK // max(1, values.shape[1]))
    return (slice(start, start + size) for start in range(0, len(values), size))


def blocks(values: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """The rows of a matrix in float64, a few at a time."""
    return ((rows, values[rows].astype(np.float64)) for rows in slices(values))


def _shape(column: Column, observations: Column | None) -> Iterator[str]:
    """What is wrong with the shape of a column's rows, or with what else nothing describes."""
    if column.name in ("rewards", *FLAGS) and column.values.shape[1] > 1:
        yield f"The {column.name} have {column.values.shape[1]} numbers per row: give one."
    if column.name == "actions" and len(column.shape) > 1:
        yield f"The actions are of shape {column.shape}, and an action is a vector: flatten them."
    if column.name == "observations" and len(column.shape) == 3:
        yield from _images(column)
    if column.name == "next_observations":
        if observations is not None and column.shape != observations.shape:
            yield (
                f"The next observations are of shape {column.shape} and the observations of {observations.shape}: give "
                "what follows each row, or leave them out."
            )
        if bad := sum(int(np.sum(~np.isfinite(block).all(1))) for _, block in blocks(column.values)):
            yield f"The next observations are not finite in {bad:,} rows, which loading refuses: repair or remove them."


def _images(column: Column) -> Iterator[str]:
    """What is wrong with images."""
    try:
        check_images("The data", column.shape, column.values.dtype, 1)
    except SpaceError as error:
        yield f"Loading will refuse the observations. {error}"
    if column.values.dtype.kind == "f":
        yield (
            f"The observations are images of type {column.values.dtype}, and encoders of images take bytes: convert "
            "them, as in np.round(255 * image).astype(np.uint8) for entries from 0 to 1."
        )


def _array(value: Any) -> np.ndarray | str:
    """The value as an array of real numbers with rows, or what it is instead."""
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        return "rows of different lengths"
    if array.dtype.kind not in "fiub":
        return f"of type {array.dtype}"
    return array if array.ndim else "a single number"


def _coordinates(names: Mapping[str, tuple[str, ...]], name: str, size: int) -> tuple[str, ...]:
    given = tuple(map(str, names.get(name, ())))
    return given if len(given) == size else tuple(map(str, range(size)))
