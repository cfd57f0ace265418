"""Behaviours that collect datasets: OGBench's own oracles, by family and kind of dataset."""

from ...errors import CollectionError
from ..task_names import TaskName
from .base import Behaviour, Column
from .manipulation import Play, PuzzlePlay, ScenePlay
from .maze import Navigate

__all__ = ["BEHAVIOURS", "Behaviour", "Column", "behaviour_of", "episode_steps"]

BEHAVIOURS: dict[tuple[str, str], type[Play] | type[Navigate]] = {
    ("cube", "play"): Play,
    ("scene", "play"): ScenePlay,
    ("puzzle", "play"): PuzzlePlay,
    ("pointmaze", "navigate"): Navigate,
}
"""(family, kind of dataset) -> the behaviour that collects it."""


def behaviour_of(task: TaskName) -> type[Play] | type[Navigate]:
    """The behaviour that collects a task's dataset.

    Raises:
        CollectionError: If OGBench has no oracle for it. The message names what can be collected.
    """
    if (task.family, task.kind) not in BEHAVIOURS:
        raise CollectionError(
            f"{task.dataset} cannot be collected, since OGBench has no oracle for it (cube, scene and puzzle 'play' "
            "and pointmaze 'navigate' have one): use the official files, which are downloaded, or copied by hand to "
            "<data-dir>/official."
        )
    return BEHAVIOURS[task.family, task.kind]


def episode_steps(task: TaskName) -> int:
    """Transitions per episode in OGBench's dataset: 2000 in the giant maze, 1000 elsewhere."""
    return 2000 if task.base_id.startswith("pointmaze-giant") else 1000
