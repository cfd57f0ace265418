"""Trajectories: where they end and how that was read, how long they are, and their rewards and returns."""

import dataclasses
import math
import pathlib

import numpy as np

from ...errors import DatasetFileError
from ..endings import FLAGS, Endings, Terminals, read_endings
from ..validation import check_flags
from .columns import Columns

THE_DATA = pathlib.Path("The data")
"""Stands where errors name the file."""


@dataclasses.dataclass(frozen=True)
class Trajectories:
    """Where trajectories begin and end."""

    starts: np.ndarray
    """First rows, shape (T,)."""

    lengths: np.ndarray
    """Number of rows, shape (T,)."""

    terminations: int | None
    """Number of rows at which an episode is over for good; None if the data does not say."""

    truncations: int
    """Number of trajectories that end otherwise."""

    reading: str
    """How the columns were read, in words."""

    problem: str
    """Why training would refuse the columns, and what to do; empty if it would not."""


@dataclasses.dataclass(frozen=True)
class Rewards:
    """The rewards of all steps. Those that are not finite are counted, and left out of everything else."""

    lowest: float
    """NaN, like the others, if no reward is finite."""

    mean: float
    """Over steps."""

    highest: float
    """Of all steps."""

    distinct: int
    """Number of different rewards."""

    not_finite: int
    """Number of rewards that are NaN or infinite."""

    returns: np.ndarray
    """Sums over trajectories, shape (T,); NaN where a reward is not finite."""

    values: np.ndarray = dataclasses.field(repr=False)
    """Those that are finite."""


def read_trajectories(columns: Columns, terminals: Terminals | None) -> tuple[Trajectories, Endings]:
    """Reads the ends as training does. What training would refuse is said, and then any mark counts as an end."""
    flags, problems = {}, []
    for name in FLAGS:
        if (flag := columns.single(name)) is not None:
            try:
                check_flags(THE_DATA, {name: flag})
                flags[name] = flag
            except DatasetFileError as error:
                problems.append(str(error))
    rows, nothing = columns.rows, np.zeros(columns.rows, bool)
    try:
        if not rows:
            raise DatasetFileError("The data has no rows: save at least one trajectory.")
        endings = read_endings(THE_DATA, flags, terminals)
    except DatasetFileError as error:
        problems.append(str(error))
        marks = [name for name in flags if name != "masks"]
        ends = np.any([flags[name] != 0 for name in marks], axis=0) if marks else nothing.copy()
        ends[-1:] = True
        terminated = flags["terminations"] != 0 if "terminations" in flags else None
        endings = Endings(ends, terminated, f"{' and '.join(marks) or 'no column'} and the last row as ends")
    last = np.flatnonzero(endings.ends)
    starts = np.concatenate([[0], last[:-1] + 1])[: len(last)].astype(int)
    terminated = endings.terminated
    found = Trajectories(
        starts=starts,
        lengths=last - starts + 1,
        terminations=None if terminated is None else int(terminated.sum()),
        truncations=int(np.sum(endings.ends & ~(nothing if terminated is None else terminated))),
        reading=endings.reading,
        problem=" ".join(problems),
    )
    return found, endings


def describe_rewards(rewards: np.ndarray, trajectories: Trajectories, counted: np.ndarray | None = None) -> Rewards:
    """Describes the rewards of all rows, shape (N,), or of those that are `counted`."""
    rewards = rewards.astype(np.float64)
    steps = rewards if counted is None else rewards[counted]
    values = steps[np.isfinite(steps)]
    summed = rewards if counted is None else np.where(counted, rewards, 0.0)
    returns = np.add.reduceat(summed, trajectories.starts) if len(trajectories.starts) else np.zeros(0)
    found = [float(each(values)) if len(values) else math.nan for each in (np.min, np.mean, np.max)]
    return Rewards(
        lowest=found[0],
        mean=found[1],
        highest=found[2],
        distinct=len(np.unique(values)),
        not_finite=len(steps) - len(values),
        returns=np.where(np.isfinite(returns), returns, np.nan),
        values=values,
    )
