"""D4RL's HDF5 files: flat arrays, one row per step."""

import contextlib
import pathlib

from ...errors import DatasetFileError
from .arrays import recording
from .base import AbstractReader, Columns, Recording, register
from .hdf5 import array_names, is_hdf5, load_arrays, opened
from .npz import NAMES


@register("d4rl")
class D4RL(AbstractReader):
    """An HDF5 file with `observations`, `actions`, `rewards`, `terminals` and `timeouts`, perhaps `next_observations`.

    Arrays in groups are named `infos/qpos`. An old file without `timeouts` does not say where its time limits are: see
    `deflow.data.endings`.
    """

    def suits(self, path: pathlib.Path) -> bool:
        if not is_hdf5(path):
            return False
        with contextlib.suppress(DatasetFileError), opened(path) as file:
            return "actions" in array_names(file)
        return True  # damaged, which `read` says

    def read(self, path: pathlib.Path, columns: Columns) -> Recording:
        with opened(path) as file:
            return recording(path, array_names(file), columns, lambda names: load_arrays(path, file, names), NAMES)
