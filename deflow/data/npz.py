"""Reading npz files: only the needed columns, never pickles, with a one-sentence error for a damaged file."""

import pathlib
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from ..errors import DatasetFileError

DAMAGE = OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, OverflowError
"""What NumPy and zipfile raise for files that are cut, changed, encrypted, or compressed in another way."""


def read_columns(path: pathlib.Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The named columns, as far as the file has them.

    Raises:
        DatasetFileError: If the file is truncated, damaged, not an npz file, or contains Python objects.
    """
    try:
        with open(path, "rb") as raw:
            if (kind := _other_kind(raw.read(1024))) is not None:
                raise DatasetFileError(
                    f"{path} is {kind}, and deflow reads npz files: save its arrays with "
                    "numpy.savez(file, observations=..., actions=..., rewards=..., ...)."
                )
            raw.seek(0)
            file = np.load(raw, allow_pickle=False)
            return {name: file[name] for name in names if name in file.files}
    except DatasetFileError:
        raise
    except (*DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise DatasetFileError(
                f"{path} contains Python objects, which are never loaded: save plain arrays of numbers."
            ) from error
        raise DatasetFileError(
            f"{path} is truncated or damaged ({type(error).__name__}): fetch, collect or save it again."
        ) from error


def _other_kind(beginning: bytes) -> str | None:
    """The kind of a file with this beginning, if it is not a zip archive (as npz files are); None if unknown."""
    for magic, kind in _KINDS.items():
        if beginning.startswith(magic):
            return kind
    if beginning[:1] == b"\x80" and beginning[1:2] in b"\x02\x03\x04\x05":
        return "a pickle file (which is never loaded, since it can run code)"
    if beginning and not beginning.startswith(b"PK"):
        try:
            text = beginning.decode("utf-8")
        except UnicodeDecodeError:
            return None
        return "a text file" if text.isprintable() or "\n" in text else None
    return None


_KINDS = {
    b"\x89HDF\r\n\x1a\n": "an HDF5 file",
    b"\x93NUMPY": "a single array (npy)",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\x00": "an xz file",
    b"SQLite format 3\x00": "an SQLite file",
}
