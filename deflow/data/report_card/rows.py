"""Rows: which are equal, in which states several actions were taken, and how far successive states are apart."""

import dataclasses
import math

import numpy as np

from ..endings import TOLERANCE
from .columns import Column, blocks, slices
from .dimensions import Dimension
from .trajectories import Trajectories

JUMP = 100
"""A step of more than this many usual ones is a jump."""


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Rows that are equal number by number."""

    rows: int
    """Rows whose observation, action and reward are those of an earlier row."""

    trajectories: int
    """Trajectories all of whose rows are those of an earlier trajectory."""

    states: int
    """Number of different observations."""

    states_seen_again: int
    """Different observations that occur in several rows."""

    states_with_several_actions: int
    """Different observations that occur with at least two different actions."""

    actions: int
    """Number of different actions."""


@dataclasses.dataclass(frozen=True)
class Steps:
    """How far the state moves from a row to the next one of its trajectory: the Euclidean distance after every
    dimension is divided by its standard deviation. Constant dimensions are left out."""

    usual: float
    """Median over the steps that move."""

    largest: float
    """The longest step."""

    resting: float
    """Share of steps that do not move."""

    jumps: int
    """Steps of more than 100 usual ones."""

    first_jump: int | None
    """The row before the first of them."""

    broken: int
    """Rows within a trajectory whose next observation is not the next row's observation."""

    lengths: np.ndarray = dataclasses.field(repr=False)
    """All steps."""

    @property
    def jumping(self) -> float:
        """Share of steps that are jumps."""
        return self.jumps / len(self.lengths) if len(self.lengths) else 0.0


def find_repeats(
    observations: Column, actions: Column, rewards: np.ndarray | None, trajectories: Trajectories
) -> Repeats:
    """Compares all rows."""
    states, acts = row_keys(observations.values), row_keys(actions.values)
    keys = _mixed(states + 3 * acts)
    if rewards is not None:
        keys = _mixed(keys + 5 * row_keys(rewards[:, None]))
    place = np.arange(len(keys), dtype=np.uint64) - np.repeat(trajectories.starts, trajectories.lengths).astype("u8")
    whole = np.add.reduceat(_mixed(keys + 7 * _mixed(place)), trajectories.starts) if len(keys) else keys
    order = np.lexsort((acts, states))
    new_state = np.diff(states[order], prepend=~states[order][:1]) != 0
    new_pair = new_state | (np.diff(acts[order], prepend=acts[order][:1]) != 0)
    number = np.cumsum(new_state) - 1
    return Repeats(
        rows=len(keys) - len(np.unique(keys)),
        trajectories=len(whole) - len(np.unique(whole)),
        states=int(new_state.sum()),
        states_seen_again=int(np.sum(np.bincount(number) > 1)),
        states_with_several_actions=int(np.sum(np.bincount(number[new_pair]) > 1)),
        actions=len(np.unique(acts)),
    )


def measure_steps(
    observations: Column, following: Column | None, spread: tuple[Dimension, ...], ends: np.ndarray
) -> Steps:
    """Measures the steps within trajectories. Those to or from numbers that are not finite are left out."""
    scale = np.asarray([each.deviation for each in spread])
    used = np.isfinite(scale) & (scale > 0)
    within = ~ends[:-1]
    lengths, broken = np.full(len(within), np.nan), 0
    if following is not None and following.values.shape != observations.values.shape:
        following = None
    before = np.zeros((0, len(scale)))
    for rows, block in blocks(observations.values):
        joined = np.concatenate([before, block])
        first = rows.start - len(before)
        part = slice(first, first + len(joined) - 1)
        lengths[part] = np.linalg.norm(np.diff(joined[:, used] / scale[used], axis=0), axis=1)
        if following is not None:
            told, seen = following.values[part].astype(np.float64), joined[1:]
            apart = np.any(np.abs(told - seen) > TOLERANCE * np.maximum(1.0, np.abs(seen)), axis=1)
            broken += int(np.sum(apart & within[part]))
        before = block[-1:]
    measured = within & np.isfinite(lengths)
    lengths = np.where(measured, lengths, np.nan)
    steps = lengths[measured]
    moving = steps[steps > 0]
    usual = float(np.median(moving)) if len(moving) else math.nan
    jumps = np.flatnonzero(lengths > JUMP * usual)  # false for NaN
    return Steps(
        usual=usual,
        largest=float(steps.max()) if len(steps) else math.nan,
        resting=float(np.mean(steps == 0)) if len(steps) else math.nan,
        jumps=len(jumps),
        first_jump=int(jumps[0]) if len(jumps) else None,
        broken=broken,
        lengths=steps,
    )


def row_keys(values: np.ndarray) -> np.ndarray:
    """A number for each row of a matrix, shape (N,), by which rows can be compared: equal rows have equal ones, and
    different rows almost certainly (1 - 1e-7 for a million of them) different ones."""
    keys = np.empty(len(values), np.uint64)
    factors = np.random.default_rng(0).integers(0, 2**63, values.shape[1], np.uint64) * 2 + 1
    for rows in slices(values):
        if values.dtype == np.uint8:  # eight pixels are one word
            words = np.pad(values[rows], ((0, 0), (0, -values.shape[1] % 8))).view(np.uint64)
        else:
            words = (values[rows].astype(np.float64) + 0.0).view(np.uint64)  # -0 is 0
        keys[rows] = (_mixed(words) * factors[: words.shape[1]]).sum(1)
    return _mixed(keys)


def _mixed(words: np.ndarray) -> np.ndarray:
    """Every bit depends on all bits: the last steps of Steele, Lea and Flood's SplitMix64."""
    words = (words ^ (words >> 30)) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> 27)) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> 31)
