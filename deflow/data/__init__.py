"""Data: a task's name -> an environment and its transitions, from OGBench's files, OGBench's oracles or the user."""

from deflow.data.collection import Collected, collect
from deflow.data.environment import Environment
from deflow.data.errors import CollectionInterrupted, DataError, DataWarning
from deflow.data.loading import load_task
from deflow.data.names import task_names
from deflow.data.provenance import Provenance
from deflow.data.relabelling import task_successes
from deflow.data.sources import Official, Source, UserFile, named_source
from deflow.data.task import Task

__all__ = [
    "Collected",
    "CollectionInterrupted",
    "DataError",
    "DataWarning",
    "Environment",
    "Official",
    "Provenance",
    "Source",
    "Task",
    "UserFile",
    "collect",
    "load_task",
    "named_source",
    "task_names",
    "task_successes",
]
