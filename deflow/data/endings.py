"""Endings: the columns of a file that say where trajectories end and where episodes terminate.

Several conventions use the word `terminals`. The other columns tell them apart:

| columns | terminations (mask 0) |
|---|---|
| `terminations`, with or without others (Gymnasium) | at `terminations` |
| `terminals` with `timeouts` or `truncations` (D4RL) | at `terminals` |
| `terminals` with `dones` that mark more | at `terminals` |
| `dones` with `timeouts` or `truncations` | at `dones` without the other |
| `terminals` or `dones`, with `masks` | where the mask is 0 |
| `terminals` alone (OGBench) | none known |

A trajectory ends wherever any of them marks an end. What stays unclear is asked for.

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

    reading: str
    """How the columns were read, in words."""


def read_endings(path: pathlib.Path, columns: dict[str, np.ndarray], terminals: Terminals | None = None) -> Endings:
    """Reads the file's columns. `terminals` is the meaning of a lone `terminals` or `dones`, if the user or the format
    states it.

    Raises:
        DatasetFileError: If no column says where trajectories end, its meaning is unclear, columns contradict each
            other, or the file ends within a trajectory.
    """
    flags = {name: columns[name].astype(bool) for name in FLAGS if name in columns}
    masks = flags.pop("masks", None)
    if not flags or not set(flags) - {"truncations", "timeouts"}:
        raise DatasetFileError(
            f"{path} does not say where trajectories end: add the columns terminations and truncations (as Gymnasium "
            "gives them), or terminals and timeouts (as in D4RL)."
        )
    ends = np.any(list(flags.values()), axis=0)
    terminated, reading = _terminated(path, flags, ends, terminals, masks is not None)
    if terminated is None and masks is not None:
        terminated, reading = ~masks, f"{reading}, masks as given"
    elif terminated is None:
        reading = f"{reading}; none is known to be a termination"
    elif masks is not None and np.any(contradiction := masks == terminated):
        row = int(np.argmax(contradiction))
        raise DatasetFileError(
            f"{path} has masks that contradict it in {int(contradiction.sum()):,} rows, first in row {row} (read: "
            f"{reading}): masks must be 0 exactly where an episode terminated; leave one of the columns out."
        )
    _check_last(path, ends)
    return Endings(ends, terminated, reading)


def _terminated(
    path: pathlib.Path, flags: dict[str, np.ndarray], ends: np.ndarray, meaning: Terminals | None, known: bool
) -> tuple[np.ndarray | None, str]:
    """Where episodes terminated (None if the columns do not say), and how the columns were read. `known` says whether
    there are masks, which do."""
    cuts = [name for name in ("truncations", "timeouts") if name in flags]
    cut, cut_name = np.any([flags[name] for name in cuts], axis=0), " and ".join(cuts)
    name = next(name for name in ("terminations", "terminals", "dones") if name in flags)
    values, others = flags[name], [other for other in ("terminals", "dones") if other in flags and other != name]
    rest = f", {cut_name} as truncations" if cuts else ", no truncations"
    rest = "".join(f", {other} as ends" for other in others) + (rest if cuts or not others else "")
    if name == "terminations":
        return values, f"terminations{rest}"
    if meaning == "termination":
        return values, f"{name} as terminations, as stated{rest}"
    if cuts and (name == "dones" or meaning == "trajectory-end"):
        return values & ~cut, f"{name} that are not {cut_name} as terminations{rest}"
    if cuts:
        if cut.any() and values[cut].all():
            raise DatasetFileError(
                f"{path} has {name} at every one of its {cut_name}, so they may mark terminations or any end: give "
                'their meaning: terminals="termination" or terminals="trajectory-end".'
            )
        return values, f"{name} as terminations{rest}"
    if others and not np.array_equal(values, ends):
        return values, f"{name} as terminations{rest}"
    if name == "dones" and meaning is None and not known:
        raise DatasetFileError(
            f"{path} has dones, which may mark terminations or any end of an episode: add truncations (or timeouts), "
            'or give their meaning: terminals="termination" or terminals="trajectory-end".'
        )
    return None, f"{name} as ends of trajectories"


def check_continuity(path: pathlib.Path, columns: dict[str, np.ndarray], endings: Endings) -> None:
    """Check that each row that does not end a trajectory is continued by the next one.

    Raises:
        DatasetFileError: If the next observations contradict that, because two trajectories would become one.
    """
    observations = columns["observations"].reshape(len(columns["observations"]), -1)
    within = ~endings.ends[:-1]
    if "next_observations" in columns:
        following = columns["next_observations"].reshape(len(observations), -1)
        broken = differs(following[:-1], observations[1:]) & within
        if broken.any():
            row = int(np.argmax(broken))
            raise DatasetFileError(
                f"{path} has {int(broken.sum()):,} rows whose next observation is not that of the next row, "
                f"although no trajectory ends there, first in row {row} (read: {endings.reading}): mark the ends of "
                "all trajectories, including those at a time limit, in truncations or timeouts."
            )
    elif (broken := jumps(observations, within)).any():
        row = int(np.argmax(broken))
        warn(
            f"{path} jumps after {int(broken.sum()):,} rows that do not end a trajectory, first after row {row}, by "
            "more than a hundred times its usual step: if a trajectory ends there, mark it in terminals.",
            DataWarning,
        )


def differs(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rows in which two matrices differ by more than rounding. Compared in pieces, since pixels may take gigabytes."""
    found = np.zeros(len(one), bool)
    for start in range(0, len(one), 10_000):
        part = slice(start, start + 10_000)
        a, b = one[part].astype(np.float64), other[part].astype(np.float64)
        found[part] = np.any(np.abs(a - b) > TOLERANCE * np.maximum(1.0, np.abs(b)), axis=1)
    return found


def jumps(observations: np.ndarray, within: np.ndarray) -> np.ndarray:
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
