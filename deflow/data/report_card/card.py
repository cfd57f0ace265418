"""The report card of a data set: everything that is measured."""

import dataclasses

import numpy as np

from ...environments import ActionBounds
from . import text
from .dimensions import Dimension
from .rows import Repeats, Steps
from .similarity import Similarity
from .trajectories import Rewards, Trajectories


@dataclasses.dataclass(frozen=True, eq=False)
class ReportCard:
    """What is in a data set. `print` shows it in some 40 lines; `deflow.report.data_figure` draws it."""

    title: str
    """Where the data lies, or what it is called."""

    rows: int
    """Number of steps."""

    transitions: int
    """Number of rows that training would use: those with a next state, and those that need none."""

    held_out: int
    """Rows that the source itself holds out. They are counted, and not described."""

    assumed: tuple[str, ...]
    """What the reader decided."""

    sizes: dict[str, str]
    """Columns by name, in words: `28 numbers (float32)`."""

    trajectories: Trajectories
    """Where trajectories end, and how long they are."""

    rewards: Rewards | None
    """Rewards and returns; None if there are none."""

    relabelled: bool
    """Whether OGBench's rules gave the rewards and terminations."""

    bounds: ActionBounds | None
    """Of the actions: the environment's, the source's, or else the data's own range; None without usable actions."""

    dimensions: tuple[Dimension, ...]
    """Every coordinate of the observations, then of the actions."""

    repeats: Repeats | None
    """Equal rows; None if observations or actions are missing."""

    steps: Steps | None
    """How far successive states are apart; None for images."""

    similarity: Similarity | None
    """Actions of similar states; None if they could not be measured."""

    why_not: str
    """Why there is no similarity; else empty."""

    histograms: dict[str, tuple[np.ndarray, float, float]] = dataclasses.field(repr=False)
    """For each action's title, the number of rows in 40 equal bins, and where they begin and end."""

    warnings: tuple[str, ...] = ()
    """Sentences that each say what is wrong and what to do."""

    def __str__(self) -> str:
        return text.whole(self)
