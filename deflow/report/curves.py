"""Metrics of several seeds as curves: brought to common steps, thinned, averaged."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from deflow.report.files import RunFiles
from deflow.report.statistics import mean

MOST_POINTS = 300
"""Points of a training curve: more are averaged in groups, since neither eye nor paper resolves them."""


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
    """Lower limit of the 95% interval at `steps`, NaN where there is none."""

    high: np.ndarray
    """Its upper limit."""


def evaluation_curve(runs: Sequence[RunFiles], name: str) -> Curve | None:
    """A column of eval.csv. The interval is Student's over seeds, or a single run's own over its episodes.

    `None` where no run has a value.
    """
    curve = _curve([_points(run.evaluation, name) for run in runs])
    if curve is None or len(runs) > 1:
        return curve
    table = runs[0].evaluation
    rows = _rows(table, name)
    blank = np.full(len(table["step"]), np.nan)
    low, high = (table.get(f"{name}.{limit}", blank)[rows] for limit in ("low", "high"))
    return dataclasses.replace(curve, low=low, high=high)


def training_curve(runs: Sequence[RunFiles], name: str) -> Curve | None:
    """A column of train.csv, its points averaged in groups where they are many. `None` where no run has a value."""
    last = max((run.train["step"].max() for run in runs if len(run.train["step"])), default=0)
    return _curve([_thin(*_points(run.train, name), last) for run in runs])


def _rows(table: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Rows in which a column has a value, by step. Of a step that was logged twice, as by a continued run, the last."""
    rows = np.flatnonzero(~np.isnan(table.get(name, np.full(len(table["step"]), np.nan))))[::-1]
    return rows[np.unique(table["step"][rows], return_index=True)[1]]


def _points(table: dict[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    rows = _rows(table, name)
    return table["step"][rows], table.get(name, table["step"])[rows]


def _thin(steps: np.ndarray, values: np.ndarray, last: int) -> tuple[np.ndarray, np.ndarray]:
    if len(steps) <= MOST_POINTS:
        return steps, values
    groups = np.minimum(steps * MOST_POINTS // (last + 1), MOST_POINTS - 1)
    names, first, counts = np.unique(groups, return_index=True, return_counts=True)
    # The group's middle stands for its steps, so that seeds logged alike fall on common steps.
    middles = ((names + 0.5) * (last + 1) / MOST_POINTS).astype(int)
    return middles, np.add.reduceat(values, first) / counts


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
