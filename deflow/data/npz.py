"""Reading npz files: only the needed columns, never pickles, with a one-sentence error for a damaged file.

Many images stay on the disk, if the file is not compressed.
"""

import pathlib
import struct
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np

from ..errors import DatasetFileError
from ..memory import available_memory
from .kinds import EMPTY, UNKNOWN, ZIP_ARCHIVE, kind_of

DAMAGE = OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, OverflowError
"""What NumPy and zipfile raise for files that are cut, changed, encrypted, or compressed in another way."""

MAPPED = 1 << 28
"""Bytes from which images are mapped into memory, and read from the disk as they are needed."""


def read_columns(path: pathlib.Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """The named columns, as far as the file has them.

    Raises:
        DatasetFileError: If the file is truncated, damaged, not an npz file, contains Python objects, or needs more
            memory than is free.
    """
    if (kind := kind_of(path)) not in (EMPTY, UNKNOWN, ZIP_ARCHIVE):
        raise DatasetFileError(
            f"{path} is {kind}, not an npz file: name another reader, or save its arrays with numpy.savez(file, "
            "observations=..., actions=..., rewards=..., ...)."
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            wanted = [name for name in names if name in file.files]
            mapped = {name: array for name in wanted if (array := _mapped(path, file.zip, name)) is not None}
            if (lacking := _lacking(path, file.zip, [name for name in wanted if name not in mapped])) is None:
                return {name: mapped[name] if name in mapped else file[name] for name in wanted}
    except (*DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error) and zipfile.is_zipfile(path):
            raise DatasetFileError(
                f"{path} contains Python objects, which are never loaded: save plain arrays of numbers."
            ) from error
        raise damaged(path, error) from error
    raise DatasetFileError(lacking)


def _mapped(path: pathlib.Path, archive: zipfile.ZipFile, name: str) -> np.ndarray | None:
    """The column where it lies in the file, if it is one of many images that are stored as they are."""
    member = archive.getinfo(f"{name}.npy")
    if member.compress_type != zipfile.ZIP_STORED or member.file_size < MAPPED:
        return None
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        sizes = struct.unpack("<HH", file.read(30)[26:])  # of the name and further fields, which are next
        file.seek(sum(sizes), 1)
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, transposed, dtype = read(file)
        if dtype != np.uint8 or len(shape) != 4 or transposed:
            return None
        start = file.tell()
    with archive.open(member) as whole:  # once, for the checksum
        while whole.read(1 << 24):
            pass
    return np.memmap(path, dtype, mode="r", offset=start, shape=shape)


def _lacking(path: pathlib.Path, archive: zipfile.ZipFile, names: list[str]) -> str | None:
    """A sentence if there is no memory for the columns."""
    needed = sum(archive.getinfo(f"{name}.npy").file_size for name in names)
    free = available_memory()
    if needed < MAPPED or free is None or needed < free:
        return None
    return (
        f"{path} needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free: train on a part of it; or, "
        "if images take that much, save it by numpy.savez (without compression), which leaves them on the disk."
    )


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
