"""HDF5: files opened with h5py, their arrays by name, and one sentence for what cannot be read. No code is in them."""

import contextlib
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

from ...errors import DatasetFileError, DeflowError
from ..kinds import EMPTY, HDF5, UNKNOWN, beginning, kind_of
from .reading import package

DAMAGE = OSError, KeyError, ValueError, TypeError, RuntimeError, MemoryError, OverflowError, EOFError
"""What h5py raises for files that are cut or changed."""

Layout = Literal["flat", "demos", "episodes"]
"""Arrays (D4RL), groups in a group `data` (robomimic), or groups `episode_0`, `episode_1` (Minari)."""


def layout(path: pathlib.Path) -> Layout | None:
    """How an HDF5 file is built; None for other files and for folders. Of what cannot be opened it is flat, so that one
    reader says why."""
    if not beginning(path).startswith(HDF5):
        named = path.suffix.lower() in (".hdf5", ".h5") and kind_of(path) in (EMPTY, UNKNOWN)
        return "flat" if named else None
    try:
        with opened(path) as file:
            within = subgroups(file)
            if "episode_0" in within:
                return "episodes"
            if "data" in within and subgroups(within["data"]):
                return "demos"
    except Exception:  # whatever a damaged file does, `read` says it
        pass
    return "flat"


@contextlib.contextmanager
def opened(path: pathlib.Path) -> Iterator[Any]:
    """An `h5py.File` to read from.

    Raises:
        DatasetFileError: If the file is truncated, damaged, or of another kind, now or while it is read.
        DataError: If h5py is missing.
    """
    h5py = package("h5py", what="Reading HDF5 files")
    first = beginning(path)
    if first.startswith(b"version https://git-lfs"):
        raise DatasetFileError(
            f"{path} is a pointer of Git LFS to a file that is not here: fetch it with git lfs pull."
        )
    if path.is_dir() or (first and not h5py.is_hdf5(path)):
        raise DatasetFileError(f"{path} is {kind_of(path)}, not an HDF5 file: name another reader, or fetch it again.")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except DeflowError:
        raise
    except PermissionError as error:
        raise DatasetFileError(f"{path} may not be read: change its permissions.") from error
    except BlockingIOError as error:
        raise DatasetFileError(f"{path} is open for writing in another program: close it there.") from error
    except DAMAGE as error:
        raise DatasetFileError(
            f"{path} is truncated or damaged ({type(error).__name__}): fetch or save it again."
        ) from error


def groups() -> type:
    """h5py's class of groups."""
    return package("h5py", what="Reading HDF5 files").Group


def subgroups(group: Any) -> dict[str, Any]:
    """The groups in a group, by name. Links, to other files too, are not followed."""
    hard = package("h5py", what="Reading HDF5 files").HardLink
    own = [name for name in group if isinstance(group.get(name, getlink=True), hard)]
    return {name: group[name] for name in own if isinstance(group[name], groups())}


def arrays(group: Any) -> dict[str, Any]:
    """The arrays in a group and in the groups within it, by names such as `infos/qpos`. Links are not followed."""
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, groups()) and hasattr(item, "shape"):
            found[name] = item

    group.visititems(visit)
    return found


def numbers(path: pathlib.Path, name: str, array: Any) -> np.ndarray:
    """The numbers of an array, of shape (N, ...).

    Raises:
        DatasetFileError: If it contains anything else, or they lie in another file.
    """
    try:
        kind = array.dtype
    except TypeError:  # a type that NumPy does not have
        kind = np.dtype(object)
    if kind.kind not in "fiub":
        raise DatasetFileError(
            f"{path} has {name} of type {kind}: save them as numbers, not as texts, references or lists of different "
            "lengths."
        )
    if not array.shape:  # (), or None if it is empty
        raise DatasetFileError(f"{path} has no rows in {name}: it needs one row per step.")
    if array.is_virtual or array.external:
        raise DatasetFileError(f"{path} refers to other files in {name}: copy everything into one file.")
    return array[()]


def one_per_row(path: pathlib.Path, name: str, values: np.ndarray) -> np.ndarray:
    """Numbers of shape (N,).

    Raises:
        DatasetFileError: If a row has several.
    """
    if values.size != len(values):
        raise DatasetFileError(f"{path} has {name} of shape {values.shape[1:]} per row, and a row has one: choose it.")
    return values.reshape(len(values))


def check_rows(path: pathlib.Path, columns: Mapping[str, np.ndarray], where: str = "") -> None:
    """Check that all columns have the same number of rows, and that there is one. `where` ends the sentence's subject,
    such as ` in data/demo_3`."""
    first, *others = columns
    for name in others:
        if len(columns[name]) != len(columns[first]):
            raise DatasetFileError(
                f"{path} has {len(columns[first]):,} rows of {first} but {len(columns[name]):,} of {name}{where}: "
                "every column needs one row per step."
            )
    if not len(columns[first]):
        raise DatasetFileError(f"{path} has no rows of {first}{where}: leave it out, or save it again.")
