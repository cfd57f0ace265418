"""Loggers: what else a run's rows are passed to, besides its CSV files."""

from .base import AbstractLogger, LoggedRun, check_loggers, register, registry
from .csv import Csv
from .tensorboard import TensorBoard
from .wandb import Wandb

__all__ = [
    "AbstractLogger",
    "Csv",
    "LoggedRun",
    "TensorBoard",
    "Wandb",
    "check_loggers",
    "register",
    "registry",
]
