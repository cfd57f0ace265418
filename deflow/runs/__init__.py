"""Run directories: configuration, metrics and checkpoints of one training run, written so that no crash spoils them."""

from deflow.runs.best import Best
from deflow.runs.checkpoints import Checkpoints
from deflow.runs.errors import CheckpointError, RunError, RunWarning
from deflow.runs.files import writable_directory
from deflow.runs.group import RunGroup
from deflow.runs.run import Run
from deflow.runs.saver import Saver
from deflow.runs.stopped import Stopped
from deflow.runs.window import Window

__all__ = [
    "Best",
    "CheckpointError",
    "Checkpoints",
    "Run",
    "RunError",
    "RunGroup",
    "RunWarning",
    "Saver",
    "Stopped",
    "Window",
    "writable_directory",
]
