"""Similarity: how much actions vary between similar states, and how much of an action similar states tell."""

import dataclasses
import math

import numpy as np

from ...environments import ActionBounds
from ...errors import DataError
from ..action_variance import ActionVariance, action_variance, comparable, evenly_spaced
from ..neighbours_of import neighbours_of
from ..validation import LARGEST
from .columns import Column, blocks
from .trajectories import Trajectories

NEIGHBOURS = 5
"""Number of nearest states, as for automatic bounds."""

STATES = 1_000
"""States at which both are measured, evenly spaced; the standard error is then a few percent."""

NUMBERS = 2**25
"""Among how many numbers of states neighbours are looked for: a million states of 32. Of more, whole trajectories are
drawn."""


@dataclasses.dataclass(frozen=True)
class Similarity:
    """Of actions in [-1, 1]. Rows with a number that training refuses are left out."""

    variance: ActionVariance
    """The intrinsic action variance, at `variance.rows` states."""

    explained: float | None
    """R^2 of the policy that acts like the mean of the 5 nearest states of other trajectories: 1 - (its mean square
    error) / (variance of the actions). None with a single trajectory or constant actions."""

    rows: int
    """Rows among which neighbours were looked for."""


def measure_similarity(
    observations: Column,
    actions: Column,
    bounds: ActionBounds | None,
    trajectories: Trajectories,
    progress: bool,
) -> Similarity | str:
    """Measures both, or says why it cannot be done."""
    if bounds is None or observations.described_as_a_whole or actions.described_as_a_whole:
        return "compares vectors, not images"
    rows = np.flatnonzero(_usable(observations) & _usable(actions))
    group = np.repeat(np.arange(len(trajectories.lengths)), trajectories.lengths)[rows]
    limit = NUMBERS // observations.values.shape[1]
    if len(rows) > limit:
        drawn = np.random.default_rng(0).permutation(len(trajectories.lengths))
        drawn = drawn[np.cumsum(trajectories.lengths[drawn]) <= limit]
        rows = rows[np.isin(group, drawn)] if len(drawn) else rows[:limit]
        group = np.repeat(np.arange(len(trajectories.lengths)), trajectories.lengths)[rows]
    states, acts = observations.values[rows], bounds.to_unit(actions.values[rows])
    try:
        variance = action_variance(states, acts, neighbours=NEIGHBOURS, sample=STATES, progress=progress)
    except DataError:
        return f"needs at least {NEIGHBOURS + 1} usable rows, got {len(rows)}"
    return Similarity(variance, _explained(states, acts, group, progress), len(rows))


def bounds_that_follow(variance: float, factor: float, actions: int) -> dict[str, float]:
    """The bounds of trust regions by the rule of `--trust-region.bound auto`: the size of a displacement whose mean
    square per dimension is m = factor * variance."""
    square = factor * variance
    return {"mean-square": square, "ball": math.sqrt(actions * square), "box": math.sqrt(square)}


def _explained(states: np.ndarray, actions: np.ndarray, group: np.ndarray, progress: bool) -> float | None:
    """R^2, see `Similarity`. `group` is the trajectory of each row, in ascending order."""
    chosen = evenly_spaced(len(states), STATES)
    apart = np.column_stack([np.searchsorted(group, group[chosen], side) for side in ("left", "right")])
    chosen, apart = (each[len(states) - apart[:, 1] + apart[:, 0] >= NEIGHBOURS] for each in (chosen, apart))
    truth = actions[chosen].astype(np.float64)
    spread = np.square(truth - actions.mean(0, dtype=np.float64)).sum()
    if not spread > 0 or np.all(actions.max(0) == actions.min(0)):
        return None
    nearest = neighbours_of(chosen, comparable(states), NEIGHBOURS, apart=apart, progress=progress)
    return float(1 - np.square(truth - actions[nearest].mean(1, dtype=np.float64)).sum() / spread)


def _usable(column: Column) -> np.ndarray:
    found = np.empty(len(column.values), bool)
    for rows, block in blocks(column.values):
        found[rows] = np.all(np.abs(block) <= LARGEST, axis=1)
    return found
