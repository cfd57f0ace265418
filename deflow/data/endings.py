"""Endings: the columns of a file that say where trajectories end and where episodes terminate.

Several conventions use the word `terminals`. The other columns tell them apart:

| columns | ends of trajectories | terminations (mask 0) |
|---|---|---|
| `terminations`, `truncations` (Gymnasium) | at either | at `terminations` |
| `terminals` with `timeouts` or `truncations` (D4RL) | at either | at `terminals` |
| `dones` with `timeouts` or `truncations` | at either | at `dones` without the other |
| `terminals` or `dones` with `masks` | at `terminals` or `dones` | where the mask is 0 |
| `terminals` alone (OGBench) | at `terminals` | none known |

After a termination no state follows, and its mask is 0. A truncation is a cut, such as a time limit, and the next
state's value counts.
"""

import dataclasses
import pathlib
from typing import Literal

import numpy as np

from ..errors import DatasetFileError, DataWarning, warn

Terminals = Literal["trajectory-end", "termination"]
"""The meaning of a column `terminals` (or `dones`) without a second column."""

FLAGS = ("terminals", "terminations", "truncations", "timeouts", "dones", "masks")
"""The columns that contain only 0 and 1."""

TOLERANCE = 1e-4
"""Largest difference between a row's next observation and the next row's observation, relative to its size (or 1)."""


@dataclasses.dataclass(frozen=True)
class Endings:
    """Per row of a file, shape (rows,)."""

    ends: np.ndarray
    """Whether a trajectory ends with this row."""

    terminated: np.ndarray | None
    """Whether the episode terminated here; None if the file does not say."""

    padded: bool
    """Whether a trajectory's last row has only its final observation (OGBench's layout, without next observations)."""

    reading: str
    """How the columns were read, in words."""


def read_endings(path: pathlib.Path, columns: dict[str, np.ndarray], terminals: Terminals | None = None) -> Endings:
    """Reads the file's columns. `terminals` is the meaning of a lone `terminals` or `dones`, if the user gave it.

    Raises:
        DatasetFileError: If no column says where trajectories end, its meaning is unclear, columns contradict each
            other, or the file ends within a trajectory.
    """
    flags = {name: columns[name].astype(bool) for name in FLAGS if name in columns}
    cut = next((name for name in ("truncations", "timeouts") if name in flags), None)
    masks = flags.get("masks")
    padded = "next_observations" not in columns
    if "terminations" in flags:
        terminated, reading = flags["terminations"], "terminations"
        ends = terminated | flags[cut] if cut else terminated
    elif cut and "terminals" in flags:
        terminated, reading = flags["terminals"], "terminals as terminations"
        ends = terminated | flags[cut]
    elif cut and "dones" in flags:
        terminated, reading = flags["dones"] & ~flags[cut], f"dones that are not {cut} as terminations"
        ends = flags["dones"] | flags[cut]
    elif "terminals" in flags or "dones" in flags:
        name = "terminals" if "terminals" in flags else "dones"
        return _lone(path, name, flags[name], masks, terminals, padded)
    else:
        raise DatasetFileError(
            f"{path} does not say where trajectories end: add the columns terminations and truncations (as Gymnasium "
            "gives them), or terminals and timeouts (as in D4RL)."
        )
    if masks is not None and np.any(contradiction := masks == terminated):
        row = int(np.argmax(contradiction))
        raise DatasetFileError(
            f"{path} has masks that contradict its {reading} in {int(contradiction.sum()):,} rows, first in row {row}: "
            "masks must be 0 exactly where an episode terminated; leave one of the columns out."
        )
    _check_last(path, ends)
    return Endings(ends, terminated, False, f"{reading}, {cut} as truncations" if cut else f"{reading}, no truncations")


def _lone(
    path: pathlib.Path,
    name: str,
    values: np.ndarray,
    masks: np.ndarray | None,
    meaning: Terminals | None,
    padded: bool,
) -> Endings:
    """Reads `terminals` or `dones` without a second column that says which kind of end it marks."""
    if meaning == "termination":
        _check_last(path, values)
        return Endings(values, values, False, f"{name} as terminations, as requested; no truncations")
    if name == "dones" and masks is None and meaning is None:
        raise DatasetFileError(
            f"{path} has dones, which may mark terminations or any end of an episode: add truncations (or timeouts), "
            'or give their meaning: terminals="termination" or terminals="trajectory-end".'
        )
    _check_last(path, values)
    if masks is not None:
        return Endings(values, ~masks, padded, f"{name} as ends of trajectories, masks as given")
    return Endings(values, None, padded, f"{name} as ends of trajectories; none is known to be a termination")


def check_continuity(path: pathlib.Path, columns: dict[str, np.ndarray], endings: Endings) -> None:
    """Check that each row that does not end a trajectory is continued by the next one.

    Raises:
        DatasetFileError: If the next observations contradict that, because two trajectories would become one.
    """
    observations = columns["observations"].reshape(len(columns["observations"]), -1)
    within = ~endings.ends[:-1]
    if "next_observations" in columns:
        following = columns["next_observations"].reshape(len(observations), -1)
        broken = _differs(following[:-1], observations[1:]) & within
        if broken.any():
            row = int(np.argmax(broken))
            raise DatasetFileError(
                f"{path} has {int(broken.sum()):,} rows whose next observation is not that of the next row, "
                f"although no trajectory ends there, first in row {row} (read: {endings.reading}): mark the ends of "
                "all trajectories, including those at a time limit, in truncations or timeouts."
            )
    elif endings.padded and (jumps := _jumps(observations, within)).any():
        row = int(np.argmax(jumps))
        warn(
            f"{path} jumps after {int(jumps.sum()):,} rows that do not end a trajectory, first after row {row}, by "
            "more than a hundred times its usual step: if a trajectory ends there, mark it in terminals.",
            DataWarning,
        )


def _differs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rows in which two matrices differ by more than rounding. Compared in pieces, since pixels may take gigabytes."""
    found = np.zeros(len(one), bool)
    for start in range(0, len(one), 10_000):
        part = slice(start, start + 10_000)
        a, b = one[part].astype(np.float64), other[part].astype(np.float64)
        found[part] = np.any(np.abs(a - b) > TOLERANCE * np.maximum(1.0, np.abs(b)), axis=1)
    return found


def _jumps(observations: np.ndarray, within: np.ndarray) -> np.ndarray:
    """Rows after which the state moves over a hundred times the median step, shape (rows - 1,)."""
    if observations.dtype == np.uint8 or within.sum() < 10:
        return np.zeros(len(within), bool)
    scale = observations.std(0, dtype=np.float64)
    states = observations[:, scale > 0] / scale[scale > 0]
    steps = np.sqrt(np.square(np.diff(states, axis=0)).sum(1))
    usual = np.median(steps[within])
    return within & (steps > 100 * usual) & (usual > 0)


def _check_last(path: pathlib.Path, ends: np.ndarray) -> None:
    if not ends[-1]:
        raise DatasetFileError(
            f"{path} ends within a trajectory: it is truncated, or ends of trajectories at a time limit are not marked "
            "(mark each of them in truncations or timeouts, not just the file's last row)."
        )
