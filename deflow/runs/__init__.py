"""Runs: their directories, which survive crashes, their checkpoints and logs, and loading what was trained."""

from .atomic_files import writable_directory
from .checkpoints import Checkpoints
from .group import RunGroup
from .loading import create_run, create_runs, load, load_learner
from .logs import Window
from .run import Run, Stopped
from .saving import Best, Saver

__all__ = [
    "Best",
    "Checkpoints",
    "Run",
    "RunGroup",
    "Saver",
    "Stopped",
    "Window",
    "create_run",
    "create_runs",
    "load",
    "load_learner",
    "writable_directory",
]
