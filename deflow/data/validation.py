"""Validation: what a dataset's columns must satisfy before anything is trained on them."""

import pathlib
import warnings

import numpy as np

from ..errors import DatasetFileError, DataWarning
from ..types import Spec
from .endings import FLAGS

LARGEST = 1e9
"""Numbers beyond it are refused: a few products later their squares leave float32's range, and all becomes NaN."""

TOLERANCE = 1e-3
"""How far beyond its bounds an action may lie, in units of half their range, before the file is refused."""


def check_present(path: pathlib.Path, columns: dict[str, np.ndarray], needed: tuple[str, ...]) -> None:
    """Every needed column is there, has numbers, and all have the same number of rows."""
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DatasetFileError(f"{path} has no column {missing[0]!r}: it needs {', '.join(needed)}.")
    rows = {name: len(column) if column.ndim else 0 for name, column in columns.items()}
    for name, column in columns.items():
        if column.dtype.kind not in "fiub":
            raise DatasetFileError(f"{path} holds {name} of type {column.dtype}: save them as numbers.")
        if rows[name] != rows["observations"]:
            raise DatasetFileError(
                f"{path} has {rows['observations']} rows of observations but {rows[name]} of {name}: every column "
                "needs one row per step."
            )
    if not rows["observations"]:
        raise DatasetFileError(f"{path} has no rows: collect or save some.")


def with_axes(columns: dict[str, np.ndarray], spec: Spec) -> dict[str, np.ndarray]:
    """The columns with the axes they should have: (N, 1) where a row has one number as (N,), and the reverse."""
    shapes = {"observations": spec.observation_shape, "next_observations": spec.observation_shape}
    shapes["actions"] = (spec.action_size,)
    found = {}
    for name, column in columns.items():
        wanted = shapes.get(name, ())
        same_numbers = {column.shape[1:], wanted} == {(), (1,)}
        found[name] = column.reshape(len(column), *wanted) if same_numbers else column
    return found


def check_shapes(
    path: pathlib.Path, columns: dict[str, np.ndarray], spec: Spec, environment: str, widths: dict[str, int]
) -> None:
    """Shapes and types agree with the environment; `widths` are those of simulator columns such as qpos."""
    shapes = {
        "observations": spec.observation_shape,
        "next_observations": spec.observation_shape,
        "actions": (spec.action_size,),
        "rewards": (),
        **dict.fromkeys(FLAGS, ()),
        **{name: (width,) for name, width in widths.items()},
    }
    for name, shape in shapes.items():
        if name in columns and columns[name].shape[1:] != shape:
            raise DatasetFileError(
                f"{path} holds {name} of shape {columns[name].shape[1:]} a row, but {environment} has {shape}: check "
                "that the file was recorded in that environment."
            )
    for name in ("observations", "next_observations"):
        if name in columns and (columns[name].dtype == np.uint8) != (spec.observation_dtype == "uint8"):
            raise DatasetFileError(
                f"{path} holds {name} of type {columns[name].dtype}, but {environment} gives {spec.observation_dtype}: "
                "check that the file was recorded in that environment."
            )


def check_finite(path: pathlib.Path, columns: dict[str, np.ndarray]) -> None:
    """No entry is NaN, infinite, or larger than training in float32 can bear; the first bad one is named."""
    for name, column in columns.items():
        if column.dtype == np.uint8 or column.dtype == bool or not column.size:
            continue
        if max(-float(column.min()), float(column.max())) <= LARGEST:  # NaN compares as False
            continue
        bad = ~(np.abs(column.reshape(len(column), -1).astype(np.float64)) <= LARGEST)
        row = int(np.argmax(bad.any(axis=1)))
        value = column.reshape(len(column), -1)[row][bad[row]][0]
        remedy = (
            f"scale the column: training in float32 needs numbers up to {LARGEST:g}"
            if np.isfinite(value)
            else "remove or repair such rows"
        )
        raise DatasetFileError(
            f"{path} holds {value} in {name}, first in row {row} (coordinate {int(np.argmax(bad[row]))}): {remedy}."
        )


def check_flags(path: pathlib.Path, columns: dict[str, np.ndarray]) -> None:
    """Columns that mark rows hold 0 and 1."""
    for name in FLAGS:
        if name in columns and columns[name].dtype != bool:
            bad = (columns[name] != 0) & (columns[name] != 1)
            if bad.any():
                row = int(np.argmax(bad))
                raise DatasetFileError(
                    f"{path} holds {columns[name][row]} in {name}, first in row {row}: only 0 and 1 mean something."
                )


def check_actions(path: pathlib.Path, actions: np.ndarray) -> None:
    """Actions, in units where the environment's bounds are -1 and 1, lie within them."""
    beyond = np.abs(actions) > 1 + TOLERANCE
    if beyond.any():
        row = int(np.argmax(beyond.any(axis=1)))
        raise DatasetFileError(
            f"{path} holds an action beyond the environment's bounds, first in row {row}, coordinate "
            f"{int(np.argmax(beyond[row]))} ({np.abs(actions[row]).max():.4g} times the bound): clip the actions, or "
            "use the environment they were recorded in."
        )


def warn_without_success(path: pathlib.Path, mask: np.ndarray, environment: str) -> None:
    """A DataWarning if nothing in the data of an OGBench task ever solves it."""
    if not np.any(mask == 0):
        warnings.warn(
            f"None of the {len(mask):,} transitions in {path} solves {environment}: offline training has no success to "
            "learn from; collect more rows or choose another task.",
            DataWarning,
            stacklevel=2,
        )
