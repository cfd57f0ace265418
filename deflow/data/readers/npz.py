"""NumPy's npz files, as OGBench, D4RL's converters and `numpy.savez` write them."""

import pathlib

from ..endings import FLAGS
from ..kinds import EMPTY, UNKNOWN, ZIP_ARCHIVE, kind_of
from ..npz import column_names, read_columns
from ..relabelling import STATE_COLUMNS
from ..visual import is_collected_visual
from .arrays import recording
from .base import AbstractReader, Columns, RecordedIn, Recording, register

NAMES = ("observations", "actions", "rewards", "next_observations", *FLAGS)
"""The columns that are read by themselves."""


@register("npz")
class Npz(AbstractReader):
    """An npz file with one array for each column."""

    def suits(self, path: pathlib.Path) -> bool:
        kind = kind_of(path)
        return kind == ZIP_ARCHIVE or (path.suffix == ".npz" and kind in (EMPTY, UNKNOWN))

    def recorded_in(self, path: pathlib.Path, columns: Columns) -> RecordedIn:
        return RecordedIn(picture_effects=not is_collected_visual(path))

    def read(self, path: pathlib.Path, columns: Columns) -> Recording:
        if not columns.given():
            found = read_columns(path, NAMES)
            if "rewards" not in found:  # of a simulator: OGBench's rules give the rewards
                found |= read_columns(path, STATE_COLUMNS)
            return Recording(found)
        names = column_names(path)
        return recording(path, names, columns, lambda wanted: read_columns(path, wanted), NAMES)
