"""Intrinsic action variance: how much actions vary between similar states of the data (arXiv 2601.10471).

It scales the trust region, so that actions move about as far as the data's own vary. The paper leaves the metric, the
treatment of the state itself and the divisor open; `action_variance` says what was chosen here.
"""

import dataclasses
import os
import pathlib
from typing import Any

import numpy as np

from ..errors import DataError, DataWarning, FolderError, warn
from ..types import Observations
from .neighbours import nearest_rows
from .neighbours_of import neighbours_of
from .provenance import read_json, write_json
from .tasks import Task

EDGES = np.geomspace(1e-6, 2.0, 91)
"""Edges of the histogram's bins, for variances of actions in [-1, 1]. Smaller ones are counted in the first bin."""

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Levels of the saved quantiles."""

_CHUNK = 100_000  # rows whose neighbours' actions are gathered at once


@dataclasses.dataclass(frozen=True)
class ActionVariance:
    """The intrinsic action variance of a dataset, in squared action units per dimension."""

    value: float
    """Mean over states: the number from which bounds are computed."""

    neighbours: int
    """Number of nearest states over which each variance is taken."""

    rows: int
    """Number of states over which the mean is taken."""

    sha256: str
    """Digest of the dataset's file; empty if there was none."""

    quantiles: tuple[float, ...]
    """Quantiles over states at `LEVELS`."""

    counts: tuple[int, ...]
    """Number of states per bin between `EDGES`."""


def action_variance(
    observations: Observations,
    actions: Any,
    *,
    neighbours: int = 5,
    sample: int | None = None,
    workers: int | None = None,
    sha256: str = "",
    progress: bool = True,
) -> ActionVariance:
    """Mean over states and action dimensions of the variance of the actions of the `neighbours` nearest states.

    The distance is Euclidean after every dimension is divided by its standard deviation, because angles, velocities
    and positions have different units. Constant dimensions are left out. A state is not its own neighbour, since its
    own action does not show what else is done there, but another row with the same state is. The variance divides by
    k - 1 (for five actions, dividing by k would give a fifth less). The search is exact.

    Consecutive states are close to each other, so many neighbours come from the same trajectory.

    Args:
        observations: Finite, shape (N, O), N > neighbours.
        actions: Finite, shape (N, A), in [-1, 1].
        neighbours: k, at least 2.
        sample: At how many states it is measured, evenly spaced, with all rows as possible neighbours (seconds, without
            processes); at all of them if not given.
        workers: Number of processes; one per core if not given. The result does not depend on it.
        sha256: Digest of the file, which is stored in the result.
        progress: Whether to show a bar.

    Raises:
        DataError: For too few rows or neighbours, numbers that are not finite, and pixels.
    """
    _check_states(observations)  # before images are gathered
    observations, actions = np.asarray(observations), np.asarray(actions)
    _check(observations, actions, neighbours)
    states = comparable(observations)
    if sample is None or sample >= len(states):
        nearest = nearest_rows(states, neighbours, workers=workers, progress=progress)
    else:
        nearest = neighbours_of(evenly_spaced(len(states), sample), states, neighbours, progress=progress)
    variances = np.concatenate(
        [
            actions[nearest[start : start + _CHUNK]].var(axis=1, ddof=1, dtype=np.float64).mean(-1)
            for start in range(0, len(nearest), _CHUNK)
        ]
    )
    counts, _ = np.histogram(np.clip(variances, EDGES[0], EDGES[-1]), EDGES)
    return ActionVariance(
        value=float(variances.mean()),
        neighbours=neighbours,
        rows=len(variances),
        sha256=sha256,
        quantiles=tuple(np.quantile(variances, LEVELS).tolist()),
        counts=tuple(counts.tolist()),
    )


def comparable(observations: np.ndarray) -> np.ndarray:
    """States whose Euclidean distance means something: every dimension divided by its standard deviation, constant ones
    left out; float64."""
    changes = observations.max(0) > observations.min(0)
    states = observations[:, changes].astype(np.float64)
    states -= states.mean(0)
    deviation = states.std(0)
    states /= np.where(deviation > 0, deviation, 1)  # squares of the smallest numbers are 0
    return states


def evenly_spaced(rows: int, count: int) -> np.ndarray:
    """Indices of `count` rows, or of all if there are fewer."""
    return np.linspace(0, max(rows - 1, 0), min(rows, count)).astype(int)


def task_action_variance(
    task: Task, *, neighbours: int = 5, workers: int | None = None, progress: bool = True
) -> ActionVariance:
    """The variance of a task's training data, read from the sidecar file beside it, or computed and written there.

    A sidecar is used only if it was made from the same file with the same number of neighbours. A folder that cannot be
    written causes a warning.

    Raises:
        DataError: As `action_variance`.
    """
    path, provenance = sidecar(task), task.provenance
    if (known := _read(path)) and (known.sha256, known.neighbours) == (provenance.sha256, neighbours):
        return known
    computed = action_variance(
        task.train.observation,
        task.train.action,
        neighbours=neighbours,
        workers=workers,
        sha256=provenance.sha256,
        progress=progress,
    )
    try:
        write_json(path, dataclasses.asdict(computed))
    except (FolderError, OSError) as error:
        warn(f"The intrinsic action variance was not saved: {error}", DataWarning)
    return computed


def sidecar(task: Task) -> pathlib.Path:
    """The sidecar: `<dataset>.action_variance.json` beside the training file."""
    path = pathlib.Path(task.provenance.path)
    return path.with_name(f"{path.stem}.action_variance.json")


def _read(path: str | os.PathLike[str]) -> ActionVariance | None:
    """The content of the sidecar; None if there is none, or it is damaged or of another version."""
    try:
        fields = read_json(pathlib.Path(path))
        known = ActionVariance(**fields)
        return dataclasses.replace(known, quantiles=tuple(known.quantiles), counts=tuple(known.counts))
    except (DataError, TypeError):
        return None


def _check_states(observations: Any) -> None:
    """Check that observations are vectors.

    Raises:
        DataError: For pixels.
    """
    shape = observations.shape if hasattr(observations, "shape") else np.shape(observations)
    if len(shape) != 2:
        raise DataError(
            f"The intrinsic action variance compares states, vectors of numbers; got observations of shape "
            f"{shape[1:]}: give the trust region's bound as a number."
        )


def _check(observations: np.ndarray, actions: np.ndarray, neighbours: int) -> None:
    """Check that a variance can be computed.

    Raises:
        DataError: For too few rows or neighbours, numbers that are not finite, and pixels.
    """
    if neighbours < 2:
        raise DataError(f"A variance needs at least 2 neighbours, got {neighbours}: give more of them.")
    if len(observations) != len(actions) or actions.ndim != 2:
        raise DataError(
            f"Observations and actions must be (N, O) and (N, A), got {observations.shape} and {actions.shape}: give "
            "one row of each per transition."
        )
    if len(actions) <= neighbours:
        raise DataError(
            f"{neighbours} neighbours need at least {neighbours + 1} transitions, got {len(actions)}: use more data, "
            "or ask for fewer neighbours."
        )
    for what, column in (("observation", observations), ("action", actions)):
        bad = np.flatnonzero(~np.isfinite(column).all(1))
        if len(bad):
            raise DataError(
                f"The {what} of row {bad[0]:,} is not finite: repair or remove it ({len(bad):,} rows in all)."
            )
