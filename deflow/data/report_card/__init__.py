"""The report card of a data set: what is in it, and what stands in the way of learning from it."""

from .card import ReportCard
from .dimensions import Dimension
from .making import report
from .rows import Repeats, Steps
from .similarity import Similarity, bounds_that_follow
from .text import dimensions_csv, facts, table, warned
from .trajectories import Rewards, Trajectories

__all__ = [
    "Dimension",
    "Repeats",
    "ReportCard",
    "Rewards",
    "Similarity",
    "Steps",
    "Trajectories",
    "bounds_that_follow",
    "dimensions_csv",
    "facts",
    "report",
    "table",
    "warned",
]
