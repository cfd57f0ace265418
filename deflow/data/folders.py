"""The data directory, and writing files into it atomically.

Below one data directory (default `~/.deflow/data`):

    official/<dataset>.npz, <dataset>-val.npz        what OGBench published, each with a sidecar <file>.json
    collected/<dataset>-<rows>-seed<k>/              what OGBench's oracles collected here, with provenance.json

so that a collected dataset cannot be mistaken for the official one. OGBench's own folder `~/.ogbench/data` is only
read.
"""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from ..errors import FolderError
from ..paths import absolute

DEFAULT_DATA_DIR = pathlib.Path("~/.deflow/data")
"""The default data directory."""

OGBENCH_DATA_DIR = pathlib.Path("~/.ogbench/data")
"""OGBench's own folder for downloads."""


def data_folder(data_dir: str | os.PathLike[str] | None) -> pathlib.Path:
    """The absolute data directory."""
    return absolute(data_dir if data_dir is not None else DEFAULT_DATA_DIR)


def make_folder(folder: pathlib.Path) -> pathlib.Path:
    """The folder, created if needed and checked to be writable; otherwise a FolderError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise FolderError(
            f"The folder {folder} cannot be written ({error.strerror or error}): choose another data directory."
        ) from error
    return folder


def check_space(folder: pathlib.Path, needed: int) -> None:
    """FolderError unless `needed` bytes are free on the disk that holds the folder."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise FolderError(
            f"The disk of {folder} has {megabytes(free)} free, but {megabytes(needed)} are needed: free some space or "
            "choose another data directory."
        )


@contextlib.contextmanager
def appearing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A temporary path beside `path`, which is renamed to it if the block succeeds and removed if it fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise FolderError(
            f"{path} cannot be written ({error.strerror or error}): free some space or choose another data directory."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def megabytes(size: int) -> str:
    """A number of bytes as text."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
