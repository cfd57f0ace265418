"""Joining: several named columns become one array, and episodes or times become the ends of trajectories."""

import fnmatch
import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...errors import DatasetFileError
from ...registry import suggestion

GAP = 1.5
"""A time step that is longer than this many median ones is a gap."""


def matching(path: pathlib.Path, available: Iterable[str], patterns: Sequence[str], what: str) -> tuple[str, ...]:
    """The names that the patterns stand for: in the patterns' order, those of one pattern in the source's.

    Raises:
        DatasetFileError: If a pattern matches nothing. `what` is what was looked for.
    """
    available, found = list(available), []
    for pattern in patterns:
        names = [pattern] if pattern in available else fnmatch.filter(available, pattern)
        if not names:
            raise DatasetFileError(f"{path}: {suggestion(f'column for the {what}', pattern, available)}")
        found += [name for name in names if name not in found]
    return tuple(found)


def joined(path: pathlib.Path, source: Mapping[str, np.ndarray], names: Sequence[str], what: str) -> np.ndarray:
    """The named columns side by side, of shape (N, total); a single one as it is.

    Raises:
        DatasetFileError: If they have different numbers of rows, or are no vectors.
    """
    if len(names) == 1:
        return source[names[0]]
    parts = [source[name] for name in names]
    if wrong := [name for name, part in zip(names, parts, strict=True) if part.ndim not in (1, 2)]:
        raise DatasetFileError(
            f"{path} has {wrong[0]} of shape {source[wrong[0]].shape[1:]} per row, and the {what} joins vectors: leave "
            "it out, or choose it alone."
        )
    if len({len(part) for part in parts}) > 1:
        rows = ", ".join(f"{len(part)} of {name}" for name, part in zip(names, parts, strict=True))
        raise DatasetFileError(f"{path} has columns of different lengths ({rows}): every one needs one row per step.")
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def coordinates(source: Mapping[str, np.ndarray], names: Sequence[str]) -> tuple[str, ...]:
    """A name for every coordinate of the joined columns: `joint`, or `position.0`, `position.1`."""
    found: list[str] = []
    for name in names:
        size = int(np.prod(source[name].shape[1:], dtype=int))
        found += [name] if size == 1 else [f"{name}.{index}" for index in range(size)]
    return tuple(found)


def episode_ends(episode: np.ndarray | None, time: np.ndarray | None) -> tuple[np.ndarray, str]:
    """Which rows end a trajectory, shape (N,), and the rule in words: where the episode changes, before a gap in time
    (a step of more than 1.5 median ones) and where time does not go forward, and at the last row."""
    length = len(episode) if episode is not None else len(time) if time is not None else 0
    ends, rules = np.zeros(length, bool), []
    ends[-1:] = True
    if episode is not None:
        ends[:-1] |= episode[1:] != episode[:-1]
        rules.append("where the episode changes")
    if time is not None:
        if time.dtype.kind in "mM":
            time = time.astype("int64")
        steps = np.diff(time.astype(np.float64))
        within = steps[~ends[:-1] & (steps > 0)]
        usual = np.median(within) if len(within) else np.inf
        gaps = ~ends[:-1] & ((steps <= 0) | (steps > GAP * usual))
        ends[:-1] |= gaps
        rules.append(f"at {int(gaps.sum()):,} gaps in time (more than {GAP:g} times the median step, or not forward)")
    return ends, " and ".join(rules)
