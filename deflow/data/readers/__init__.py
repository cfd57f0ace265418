"""Readers: your data in whatever form it has, as named columns."""

from .base import AS_NAMED, AbstractReader, Columns, RecordedIn, Recording, register, registry
from .d4rl import D4RL
from .lerobot import LeRobot
from .minari import Minari
from .npz import Npz
from .reading import absolute, package, reader_named, reader_of
from .robomimic import Robomimic
from .table import Table

__all__ = [
    "AS_NAMED",
    "D4RL",
    "AbstractReader",
    "Columns",
    "LeRobot",
    "Minari",
    "Npz",
    "RecordedIn",
    "Recording",
    "Robomimic",
    "Table",
    "absolute",
    "package",
    "reader_named",
    "reader_of",
    "register",
    "registry",
]
