"""Reading npz files: only the needed columns, never pickles, with a one-sentence error for a damaged file."""

import pathlib
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from ..errors import DatasetFileError
from .kinds import EMPTY, UNKNOWN, ZIP_ARCHIVE, kind_of

DAMAGE = OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, OverflowError
"""What NumPy and zipfile raise for files that are cut, changed, encrypted, or compressed in another way."""


def read_columns(path: pathlib.Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The named columns, as far as the file has them.

    Raises:
        DatasetFileError: If the file is truncated, damaged, not an npz file, or contains Python objects.
    """
    if (kind := kind_of(path)) not in (EMPTY, UNKNOWN, ZIP_ARCHIVE):
        raise DatasetFileError(
            f"{path} is {kind}, not an npz file: name another reader, or save its arrays with numpy.savez(file, "
            "observations=..., actions=..., rewards=..., ...)."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in names if name in file.files}
    except (*DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise DatasetFileError(
                f"{path} contains Python objects, which are never loaded: save plain arrays of numbers."
            ) from error
        raise damaged(path, error) from error


def column_names(path: pathlib.Path) -> list[str]:
    """The names of all columns.

    Raises:
        DatasetFileError: If the file is damaged, or not an npz file.
    """
    try:
        with zipfile.ZipFile(path) as file:
            return [name.removesuffix(".npy") for name in file.namelist() if name.endswith(".npy")]
    except (*DAMAGE, zipfile.BadZipFile) as error:
        raise damaged(path, error) from error


def damaged(path: pathlib.Path, error: Exception) -> DatasetFileError:
    """The sentence for a file that cannot be read."""
    return DatasetFileError(
        f"{path} is truncated or damaged ({type(error).__name__}): fetch, collect or save it again."
    )
