"""Metrics of several seeds as curves: brought to common steps, thinned, averaged."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from .reading import RunFiles
from .statistics import mean

MOST_POINTS = 300
"""Most points of a training curve. More are averaged in groups, since they could not be seen."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """One metric over training."""

    seeds: list[tuple[np.ndarray, np.ndarray]]
    """Steps and values of each seed, both of shape (points,)."""

    steps: np.ndarray
    """Steps at which every seed has a value, shape (steps,)."""

    mean: np.ndarray
    """Mean over the seeds at `steps`."""

    low: np.ndarray
    """Lower limit of the 95% interval at `steps`, NaN if there is none."""

    high: np.ndarray
    """Upper limit of the 95% interval."""


def evaluation_curve(runs: Sequence[RunFiles], name: str) -> Curve | None:
    """A column of eval.csv. The interval is Student's over seeds, or a single run's own over its episodes.

    Returns `None` if no run has a value.
    """
    curve = _curve([_points(run.evaluation, name) for run in runs])
    if curve is None or len(runs) > 1:
        return curve
    table = runs[0].evaluation
    rows = _rows(table, name)
    blank = np.full(len(table["step"]), np.nan)
    low, high = (table.get(f"{name}.{limit}", blank)[rows] for limit in ("low", "high"))
    return dataclasses.replace(curve, low=low, high=high)


def training_curve(
    runs: Sequence[RunFiles], name: str, most: int = MOST_POINTS, weights: str | None = None
) -> Curve | None:
    """A column of train.csv without its blank rows. `None` if no run has a value.

    If a seed has more than `most` points, those of all seeds are averaged in about `most` groups, none of which mixes
    the two phases. Rows have equal weights, or those of another column (`weights`).
    """
    seeds = [points for points in (_points(run.train, name) for run in runs) if len(points[0])]
    if not any(len(steps) > most for steps, _ in seeds):
        return _curve(seeds)
    first, last = min(steps[0] for steps, _ in seeds), max(steps[-1] for steps, _ in seeds)
    switch = runs[0].online_from or 0
    width = -(-(last - (switch if first > switch else 0)) // most)
    heavy = [_points(run.train, name, weights or name) for run in runs]
    loads = [load if weights else np.ones(len(load)) for steps, load in heavy if len(steps)]
    return _curve([_thin(*points, load, switch, width, last) for points, load in zip(seeds, loads, strict=True)])


def _rows(table: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Rows in which a column has a value, by step. If a step was logged twice, as by a continued run, the last one."""
    rows = np.flatnonzero(~np.isnan(table.get(name, np.full(len(table["step"]), np.nan))))[::-1]
    return rows[np.unique(table["step"][rows], return_index=True)[1]]


def _points(table: dict[str, np.ndarray], name: str, of: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Steps of the rows in which the column `name` has a value, and its values or those of another column."""
    rows = _rows(table, name)
    return table["step"][rows], table.get(of or name, np.ones(len(table["step"])))[rows]


def _thin(
    steps: np.ndarray, values: np.ndarray, weights: np.ndarray, switch: int, width: int, last: int
) -> tuple[np.ndarray, np.ndarray]:
    # A row tells of the steps before it, so the one at the switch is the last offline.
    names, first = np.unique((steps - 1 - switch) // width, return_index=True)
    # The group's middle stands for its steps, so that seeds fall on common steps whatever rows are blank.
    middles = np.clip(switch + names * width + (width + 1) // 2, 0, last)
    return middles, np.add.reduceat(values * weights, first) / np.add.reduceat(weights, first)


def _curve(seeds: list[tuple[np.ndarray, np.ndarray]]) -> Curve | None:
    seeds = [points for points in seeds if len(points[0])]
    if not seeds:
        return None
    common = seeds[0][0]
    for steps, _ in seeds[1:]:
        common = np.intersect1d(common, steps)
    table = np.array([values[np.isin(steps, common)] for steps, values in seeds])
    limits = np.array([mean(column) for column in table.T]).reshape(-1, 3)
    return Curve(seeds, common, *limits.T)
