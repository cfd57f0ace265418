"""Run directories: configuration, metrics and checkpoints of one training run, written so that no crash spoils them."""

from deflow.runs.checkpoints import Checkpoints
from deflow.runs.errors import CheckpointError, RunError, RunWarning
from deflow.runs.files import writable_directory
from deflow.runs.run import Run

__all__ = ["CheckpointError", "Checkpoints", "Run", "RunError", "RunWarning", "writable_directory"]
