"""Data: a task's transitions, from OGBench's files, OGBench's oracles or the user, checked before use."""

from .collection import Collected, collect
from .n_step import n_step_returns
from .provenance import Provenance
from .relabelling import task_successes
from .sources import Official, Source, UserFile, named_source
from .tasks import Task, load_task

__all__ = [
    "Collected",
    "Official",
    "Provenance",
    "Source",
    "Task",
    "UserFile",
    "collect",
    "load_task",
    "n_step_returns",
    "named_source",
    "task_successes",
]
