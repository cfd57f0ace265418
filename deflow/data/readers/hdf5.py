"""HDF5 files by h5py: opened for a moment, with one sentence for a damaged one."""

import contextlib
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from ...errors import DatasetFileError
from ..kinds import HDF5, beginning
from ..npz import damaged
from .reading import package


def is_hdf5(path: pathlib.Path) -> bool:
    """Whether a file begins as HDF5 files do."""
    return beginning(path).startswith(HDF5)


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[Any]:
    """The file, as `h5py.File`.

    Raises:
        DatasetFileError: If it is damaged, now or while it is read.
        DataError: If h5py is missing.
    """
    h5py = package("h5py", what="An HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        if isinstance(error, DatasetFileError):
            raise
        raise damaged(path, error) from error


def array_names(file: Any) -> list[str]:
    """The names of all arrays, those in groups as `group/name`."""
    import h5py

    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) and item.shape else None)
    return names


def load_arrays(path: pathlib.Path, file: Any, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The named arrays. No type that would need Python objects is read.

    Raises:
        DatasetFileError: For text, references and rows of different lengths.
    """
    found = {}
    for name in names:
        if (kind := file[name].dtype).kind not in "fiub":
            raise DatasetFileError(f"{path} has {name} of type {kind}: save them as numbers.")
        found[name] = file[name][()]
    return found
