"""The published settings of each task (arXiv 2601.10471: the reference's commands)."""

import dataclasses
import fnmatch

from .critics.aggregation import Aggregation


@dataclasses.dataclass(frozen=True)
class TaskSettings:
    """What changes from task to task."""

    discount: float
    """Discount factor."""

    aggregation: Aggregation
    """How the critic's members become the target."""

    bound: float
    """The paper's delta: the largest mean squared displacement per action dimension."""

    steps: int
    """Gradient updates."""

    borrowed_from: str | None = None
    """The nearest published family, where the task itself has no published settings."""


_PUBLISHED = {
    "antmaze-large-navigate": TaskSettings(0.99, "min", 0.01, 1_000_000),
    "antmaze-giant-navigate": TaskSettings(0.995, "min", 0.01, 1_000_000),
    "humanoidmaze-medium-navigate": TaskSettings(0.995, "mean", 0.001, 1_000_000),
    "humanoidmaze-large-navigate": TaskSettings(0.995, "mean", 0.001, 1_000_000),
    "antsoccer-arena-navigate": TaskSettings(0.995, "mean", 0.01, 1_000_000),
    "cube-single-play": TaskSettings(0.99, "mean", 0.001, 1_000_000),
    "cube-double-play": TaskSettings(0.99, "mean", 0.001, 1_000_000),
    "scene-play": TaskSettings(0.99, "mean", 0.001, 1_000_000),
    "puzzle-3x3-play": TaskSettings(0.99, "mean", 0.005, 1_000_000),
    "puzzle-4x4-play": TaskSettings(0.99, "mean", 0.005, 1_000_000),
    "visual-cube-single-play": TaskSettings(0.99, "mean", 0.001, 500_000),
    "visual-cube-double-play": TaskSettings(0.99, "mean", 0.001, 500_000),
    "visual-scene-play": TaskSettings(0.99, "mean", 0.001, 500_000),
    "visual-puzzle-3x3-play": TaskSettings(0.99, "mean", 0.0005, 500_000),
    "visual-puzzle-4x4-play": TaskSettings(0.99, "mean", 0.0005, 500_000),
}
"""OGBench tasks, by the part of their name before `-singletask`."""

_PUBLISHED_D4RL = {
    "antmaze-*-v[0-9]": TaskSettings(0.99, "mean", 0.015, 500_000),
    "pen-*-v[0-9]": TaskSettings(0.99, "min", 0.01, 500_000),
    "door-*-v[0-9]": TaskSettings(0.99, "min", 0.001, 500_000),
    "hammer-*-v[0-9]": TaskSettings(0.99, "min", 0.001, 500_000),
    "relocate-*-v[0-9]": TaskSettings(0.99, "min", 0.001, 500_000),
}
"""D4RL tasks, by pattern."""

_NEAREST = {
    "pointmaze": "antmaze-large-navigate",
    "antmaze-giant": "antmaze-giant-navigate",
    "antmaze": "antmaze-large-navigate",
    "humanoidmaze-giant": "humanoidmaze-large-navigate",
    "humanoidmaze": "humanoidmaze-medium-navigate",
    "antsoccer": "antsoccer-arena-navigate",
    "cube": "cube-double-play",
    "scene": "scene-play",
    "puzzle": "puzzle-4x4-play",
    "visual-antmaze": "antmaze-large-navigate",
    "visual-humanoidmaze": "humanoidmaze-medium-navigate",
    "visual-cube": "visual-cube-double-play",
    "visual-scene": "visual-scene-play",
    "visual-puzzle": "visual-puzzle-4x4-play",
}
"""Beginnings of the names of tasks without published settings -> the family whose settings they take."""

_DEFAULT = "cube-single-play"


def task_settings(name: str) -> TaskSettings:
    """The settings published for a task; else those of the nearest family, with `borrowed_from` saying so."""
    family, singletask, _ = name.partition("-singletask")
    if singletask and family in _PUBLISHED:
        return _PUBLISHED[family]
    if not singletask:
        for pattern, settings in _PUBLISHED_D4RL.items():
            if fnmatch.fnmatch(name, pattern):
                return settings
    beginnings = [beginning for beginning in _NEAREST if name.startswith(beginning)]
    nearest = _NEAREST[max(beginnings, key=len)] if beginnings else _DEFAULT
    return dataclasses.replace(_PUBLISHED[nearest], borrowed_from=nearest)
