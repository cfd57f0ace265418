"""Dimensions: range, mean, deviation and saturation of every coordinate of a column."""

import dataclasses
import math

import numpy as np

from ...environments import ActionBounds
from ..action_variance import evenly_spaced
from ..validation import LARGEST
from .columns import Column, blocks

AT_BOUND = 1e-3
"""A number is at a bound if it is this near to it, in units of the whole range, or beyond."""

BEYOND = 1e-3
"""A number is beyond a bound if it exceeds it by this, in units of half the range: then loading refuses it."""

_SAMPLE = 2**24  # numbers of a column that is described as a whole: images take gigabytes


@dataclasses.dataclass(frozen=True)
class Dimension:
    """One coordinate of a column. Numbers that are not finite are counted, and left out of everything else."""

    column: str
    """`observations` or `actions`."""

    name: str
    """Its name in the source, or its index; `all` for images and other columns that are described as a whole."""

    lowest: float
    """NaN, like the others, if no number is finite."""

    mean: float
    """Over rows."""

    highest: float
    """Of all rows."""

    deviation: float
    """Standard deviation over rows."""

    at_low: float
    """Share of rows within 0.1% of the range of its lower end, which is the lowest number or the action's bound."""

    at_high: float
    """The same at its upper end."""

    beyond: int
    """Rows beyond the action's bounds."""

    not_finite: int
    """Rows that are NaN or infinite."""

    too_large: int
    """Rows with more than 1e9, which loading refuses."""

    whole: bool
    """Whether every number is a whole one."""

    @property
    def constant(self) -> bool:
        """Whether all its finite numbers are equal."""
        return self.lowest == self.highest

    @property
    def title(self) -> str:
        """`observation joint_0`."""
        return f"{self.column.removesuffix('s')} {self.name}"


def dimensions(column: Column, bounds: ActionBounds | None = None) -> tuple[Dimension, ...]:
    """Describes a column. `bounds` are those of actions; without them, the ends are the lowest and highest number."""
    values, names = column.values, column.coordinates
    if column.described_as_a_whole:
        rows = evenly_spaced(len(values), max(1, _SAMPLE // values.shape[1]))
        values, names = (values if len(rows) == len(values) else values[rows]).reshape(-1, 1), ("all",)
    width = values.shape[1]
    lowest, highest = np.full(width, np.inf), np.full(width, -np.inf)
    count, total, large = np.zeros(width, int), np.zeros(width), np.zeros(width, int)
    for _, block in blocks(values):
        finite = np.isfinite(block)
        lowest = np.minimum(lowest, np.min(block, axis=0, where=finite, initial=np.inf))
        highest = np.maximum(highest, np.max(block, axis=0, where=finite, initial=-np.inf))
        total += np.sum(block, axis=0, where=finite)
        count += finite.sum(0)
        large += np.sum(finite & (np.abs(block) > LARGEST), axis=0)
    some = count > 0
    mean = np.clip(total / np.maximum(count, 1), lowest, highest)  # rounding may leave the range
    low, high = (lowest, highest) if bounds is None else (np.asarray(bounds.low), np.asarray(bounds.high))
    reach = high - low
    squares, whole = np.zeros(width), np.ones(width, bool)
    ends = np.zeros((3, width), int)
    for _, block in blocks(values):
        finite = np.isfinite(block)
        squares += np.sum(np.square(block - mean), axis=0, where=finite)
        whole &= np.all((block == np.rint(block)) | ~finite, axis=0)
        outside = (block < low - BEYOND / 2 * reach) | (block > high + BEYOND / 2 * reach)
        tests = (block <= low + AT_BOUND * reach, block >= high - AT_BOUND * reach, outside)
        ends += [np.sum(test & finite, axis=0) for test in tests]
    deviation = np.sqrt(squares / np.maximum(count, 1))
    return tuple(
        Dimension(
            column=column.name,
            name=name,
            lowest=float(lowest[i]) if some[i] else math.nan,
            mean=float(mean[i]) if some[i] else math.nan,
            highest=float(highest[i]) if some[i] else math.nan,
            deviation=float(deviation[i]) if some[i] else math.nan,
            at_low=float(ends[0, i] / count[i]) if some[i] and reach[i] > 0 else math.nan,
            at_high=float(ends[1, i] / count[i]) if some[i] and reach[i] > 0 else math.nan,
            beyond=int(ends[2, i]),
            not_finite=int(len(values) - count[i]),
            too_large=int(large[i]),
            whole=bool(whole[i] and some[i]),
        )
        for i, name in enumerate(names)
    )
