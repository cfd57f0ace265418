"""Reading npz files: only the wanted columns, never a pickle, and one sentence when the file is damaged."""

import pathlib
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from ..errors import DatasetFileError


def read_columns(path: pathlib.Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Those of the named columns that the file has.

    Raises:
        DatasetFileError: If the file is truncated, damaged, no npz file at all, or holds Python objects.
    """
    try:
        with open(path, "rb") as raw:
            file = np.load(raw, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DatasetFileError(f"{path} is a single array, not an npz file: save it with numpy.savez.")
            return {name: file[name] for name in names if name in file.files}
    except DatasetFileError:
        raise
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise DatasetFileError(
                f"{path} holds Python objects, which are never loaded: save plain arrays of numbers."
            ) from error
        raise DatasetFileError(
            f"{path} is truncated or damaged ({type(error).__name__}): delete it and fetch, collect or save it again."
        ) from error
