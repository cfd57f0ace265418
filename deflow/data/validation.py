"""Validation: the checks of a dataset's columns before training."""

import math
import pathlib

import numpy as np

from ..environments import ActionBounds, check_images, stacked_shape
from ..errors import DatasetFileError, DataWarning, warn
from ..types import Spec
from .endings import FLAGS, Terminals, read_endings

LARGEST = 1e9
"""Larger numbers are refused, because their products soon leave float32's range and become NaN."""

TOLERANCE = 1e-3
"""How far an action may exceed its bounds, in units of half their range, before the file is refused."""


def check_present(path: pathlib.Path, columns: dict[str, np.ndarray], needed: tuple[str, ...]) -> None:
    """Check that the needed columns exist, contain numbers, and have the same number of rows."""
    missing = [name for name in needed if name not in columns]
    if missing:
        raise DatasetFileError(f"{path} has no column {missing[0]!r}: it needs {', '.join(needed)}.")
    rows = {name: len(column) if column.ndim else 0 for name, column in columns.items()}
    for name, column in columns.items():
        if column.dtype.kind not in "fiub":
            raise DatasetFileError(f"{path} has {name} of type {column.dtype}: save them as numbers.")
        if rows[name] != rows["observations"]:
            raise DatasetFileError(
                f"{path} has {rows['observations']} rows of observations but {rows[name]} of {name}: every column "
                "needs one row per step."
            )
    if not rows["observations"]:
        raise DatasetFileError(f"{path} has no rows: save at least one trajectory.")


def with_axes(columns: dict[str, np.ndarray], spec: Spec) -> dict[str, np.ndarray]:
    """The columns with the right axes: (N, 1) becomes (N,) if a row has one number, and vice versa."""
    shapes = {"observations": spec.frame_shape, "next_observations": spec.frame_shape}
    shapes["actions"] = (spec.action_size,)
    found = {}
    for name, column in columns.items():
        wanted = shapes.get(name, ())
        same_numbers = {column.shape[1:], wanted} == {(), (1,)}
        found[name] = column.reshape(len(column), *wanted) if same_numbers else column
    return found


def recorded_spec(
    path: pathlib.Path, columns: dict[str, np.ndarray], terminals: Terminals | None, frame_stack: int = 1
) -> Spec:
    """The sizes of a problem that is known by its data alone. Its horizon is the longest trajectory.

    Raises:
        DatasetFileError: If columns are missing, or no trajectory ends.
        SpaceError: If frames of what are no images shall be stacked.
    """
    check_present(path, columns, ("observations", "actions", "rewards"))
    check_finite(path, columns)
    check_flags(path, columns)
    ends = np.flatnonzero(read_endings(path, columns, terminals).ends)
    observations, actions = columns["observations"], columns["actions"]
    if actions.ndim > 2:
        raise DatasetFileError(
            f"{path} has actions of shape {actions.shape[1:]} per row, and an action is a vector: flatten them."
        )
    check_images(str(path), observations.shape[1:], observations.dtype, frame_stack)
    return Spec(
        observation_shape=stacked_shape(observations.shape[1:] or (1,), frame_stack),
        action_size=math.prod(actions.shape[1:]),
        observation_dtype="uint8" if observations.dtype == np.uint8 else "float32",
        horizon=int(np.diff(ends, prepend=-1).max()),
        frame_stack=frame_stack,
    )


def check_shapes(
    path: pathlib.Path, columns: dict[str, np.ndarray], spec: Spec, environment: str | None, widths: dict[str, int]
) -> None:
    """Check shapes and types against the environment's, or the training data's where there is none. `widths` are those
    of simulator columns such as qpos."""
    other, remedy = environment or "the training data", "check that both belong together"
    if environment is not None:
        remedy = "check that it was recorded in that environment, or name the environment 'none' to do without"
    shapes = {
        "observations": spec.frame_shape,
        "next_observations": spec.frame_shape,
        "actions": (spec.action_size,),
        "rewards": (),
        **dict.fromkeys(FLAGS, ()),
        **{name: (width,) for name, width in widths.items()},
    }
    if len(spec.frame_shape) == 3:
        check_images(str(path), columns["observations"].shape[1:], columns["observations"].dtype, 1)
    for name, shape in shapes.items():
        if name in columns and columns[name].shape[1:] != shape:
            raise DatasetFileError(
                f"{path} has {name} of shape {columns[name].shape[1:]} per row, but {other} has {shape}: {remedy}."
            )
    for name in ("observations", "next_observations"):
        if name in columns and (columns[name].dtype == np.uint8) != (spec.observation_dtype == "uint8"):
            if spec.observation_dtype == "uint8":
                remedy = "save bytes, as in np.round(255 * image).astype(np.uint8) for entries from 0 to 1"
            raise DatasetFileError(
                f"{path} has {name} of type {columns[name].dtype}, but {other} has {spec.observation_dtype}: {remedy}."
            )


def check_finite(path: pathlib.Path, columns: dict[str, np.ndarray]) -> None:
    """Check that no entry is NaN, infinite, or too large for float32. The error names the first bad one."""
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
            f"{path} has {value} in {name}, first in row {row} (coordinate {int(np.argmax(bad[row]))}): {remedy}."
        )


def check_flags(path: pathlib.Path, columns: dict[str, np.ndarray]) -> None:
    """Check that columns that mark rows contain only 0 and 1."""
    for name in FLAGS:
        if name in columns and columns[name].dtype != bool:
            bad = (columns[name] != 0) & (columns[name] != 1)
            if bad.any():
                row = int(np.argmax(bad))
                raise DatasetFileError(
                    f"{path} has {columns[name][row]} in {name}, first in row {row}: only 0 and 1 are allowed."
                )


def check_actions(path: pathlib.Path, given: np.ndarray, actions: np.ndarray, bounds: ActionBounds) -> None:
    """Check that actions, as they were given and in units in which the bounds are -1 and 1, lie within the bounds."""
    beyond = np.abs(actions) > 1 + TOLERANCE
    if beyond.any():
        row = int(np.argmax(beyond.any(axis=1)))
        coordinate = int(np.argmax(beyond[row]))
        low, high = bounds.low[coordinate], bounds.high[coordinate]
        whose = "use the environment they were recorded in" if bounds.origin == "environment" else "give wider bounds"
        raise DatasetFileError(
            f"{path} has the action {given[row, coordinate]:.6g} in row {row}, coordinate {coordinate}, which lies "
            f"beyond its bounds, {low:g} and {high:g}: clip the actions, or {whose}."
        )


def warn_of_precision(path: pathlib.Path, columns: dict[str, np.ndarray]) -> None:
    """Emits a DataWarning if float32 loses what tells rows apart: a coordinate varies little around a large number."""
    for name in ("observations", "next_observations", "rewards"):
        column = columns.get(name)
        if column is None or column.dtype in (np.float32, np.float16, np.uint8, np.int8, np.int16, bool):
            continue
        rows = column.reshape(len(column), -1)
        largest, spread = np.abs(rows).max(0).astype(np.float64), np.ptp(rows, axis=0).astype(np.float64)
        step = np.spacing(largest.astype(np.float32))  # between neighbouring float32 numbers
        if (coarse := (spread > 0) & (spread < 1000 * step)).any():
            which = int(np.argmax(coarse))
            warn(
                f"{path} has {name} whose coordinate {which} varies by {spread[which]:.3g} around "
                f"{largest[which]:.3g}, and float32, in which training computes, has steps of {step[which]:.2g} there: "
                "subtract an offset before saving.",
                DataWarning,
            )


def warn_without_success(path: pathlib.Path, mask: np.ndarray, environment: str) -> None:
    """Emits a DataWarning if nothing in the data of an OGBench task solves it."""
    if not np.any(mask == 0):
        warn(
            f"None of the {len(mask):,} transitions in {path} solves {environment}, so offline training has no success "
            "to learn from: collect more rows or choose another task.",
            DataWarning,
        )
