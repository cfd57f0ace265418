"""Statistics over seeds: means and interquartile means with their intervals."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

CONFIDENCE = 0.95
"""Coverage of intervals."""


class Estimate(NamedTuple):
    """A number with the limits of its interval, which are NaN if there are too few values."""

    value: float
    low: float
    high: float


def mean(values: ArrayLike, confidence: float = CONFIDENCE) -> Estimate:
    """Mean of one value per seed, shape (seeds,), with Student's t interval: m +- t(n-1) s / sqrt(n).

    It assumes approximately normal values. A single seed has no interval; no seed, or a NaN, gives NaN.
    """
    array = np.asarray(values, float)
    if array.size == 0:
        return Estimate(math.nan, math.nan, math.nan)
    center = float(array.mean())
    if array.size < 2:
        return Estimate(center, math.nan, math.nan)
    half = _t_quantile(array.size - 1, confidence) * float(array.std(ddof=1)) / math.sqrt(array.size)
    return Estimate(center, center - half, center + half)


def interquartile_mean(
    values: Sequence[float] | Sequence[Sequence[float]] | np.ndarray,
    confidence: float = CONFIDENCE,
    resamples: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Mean of the middle half of all values, with a stratified bootstrap's percentile interval.

    `values` has one value per seed (seeds,), or one such row per task, with possibly different lengths: seeds are
    resampled within each task. Agarwal et al. 2021, "Deep RL at the edge of the statistical precipice". The same `seed`
    gives the same interval. A task with a single seed leaves none, since how its seeds differ is unknown.
    """
    from scipy.stats import trim_mean

    nested = len(values) > 0 and np.ndim(values[0]) > 0
    rows = [np.asarray(row, float) for row in (values if nested else [values])]
    if not sum(map(len, rows)):
        return Estimate(math.nan, math.nan, math.nan)
    estimate = float(trim_mean(np.concatenate(rows), 0.25))
    if min(len(row) for row in rows) < 2 or math.isnan(estimate):
        return Estimate(estimate, math.nan, math.nan)
    random = np.random.default_rng(seed)
    drawn = [row[random.integers(len(row), size=(resamples, len(row)))] for row in rows]
    low, high = np.quantile(
        trim_mean(np.concatenate(drawn, axis=1), 0.25, axis=1), [0.5 - confidence / 2, 0.5 + confidence / 2]
    )
    return Estimate(estimate, float(low), float(high))


def _t_quantile(freedom: int, confidence: float) -> float:
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    return float(stdtrit(freedom, 0.5 + confidence / 2))
