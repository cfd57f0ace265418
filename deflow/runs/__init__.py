"""Runs: their directories, which survive crashes, their checkpoints and logs, and loading what was trained."""

from . import loggers
from .atomic_files import writable_directory
from .checkpoints import Checkpoints
from .grid import Cell, Grid
from .group import RunGroup
from .hosts_group import HostsGroup, locked, runs_together
from .loading import create_run, create_runs, load, load_learner
from .loggers import check_loggers
from .logs import Window
from .recorded_data import find_data, recorded_task
from .run import Run, resume_command
from .saving import Best, Saver
from .stopped import Stopped
from .watching import Look, look, sparkline

__all__ = [
    "Best",
    "Cell",
    "Checkpoints",
    "Grid",
    "HostsGroup",
    "Look",
    "Run",
    "RunGroup",
    "Saver",
    "Stopped",
    "Window",
    "check_loggers",
    "create_run",
    "create_runs",
    "find_data",
    "load",
    "load_learner",
    "locked",
    "loggers",
    "look",
    "recorded_task",
    "resume_command",
    "runs_together",
    "sparkline",
    "writable_directory",
]
