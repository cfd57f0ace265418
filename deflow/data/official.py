"""The official files: found or downloaded, and checked against their digest at first use."""

import os
import pathlib

from ..commands import command
from ..environments import Environment, behaviour_of
from ..errors import CollectionError, DatasetFileError, DownloadError
from .download import download
from .folders import OGBENCH_DATA_DIR, data_folder, make_folder
from .provenance import digest, read_json, write_json
from .sources import URL_VARIABLE, Official
from .visual import is_collected_visual


def official_files(
    name: str, source: Official, data_dir: str | os.PathLike[str] | None, progress: bool
) -> tuple[pathlib.Path, pathlib.Path]:
    """The training and the validation file of a task, downloaded if they are not found.

    Raises:
        DownloadError: If they are not found and cannot be downloaded. The message says what to run instead.
        DatasetFileError: If a file has changed since its first use.
        FolderError: If the data directory cannot be written.
    """
    task = Environment(name).task
    assert task is not None
    names = file_names(task.dataset)
    folder = make_folder(data_folder(data_dir) / "official")
    if (place := found_official(task.dataset, data_dir)) is not None:
        train, validation = (_verified(place / file, folder) for file in names)
        return train, validation
    if not source.download:
        raise DatasetFileError(
            f"{names[0]} is not in {folder}, and downloads are switched off: {_instead(name, folder)}."
        )
    for file in names:
        try:
            download(source.url(file), folder / file, progress=progress)
        except DownloadError as error:
            raise DownloadError(f"{error}: {_instead(name, folder)}.") from error
    train, validation = (_verified(folder / file, folder) for file in names)
    return train, validation


def file_names(dataset: str) -> tuple[str, str]:
    """The names of a dataset's training and validation files."""
    return f"{dataset}.npz", f"{dataset}-val.npz"


def found_official(dataset: str, data_dir: str | os.PathLike[str] | None) -> pathlib.Path | None:
    """The folder in which both files lie: the data directory's or OGBench's own; None if there is none."""
    places = (data_folder(data_dir) / "official", OGBENCH_DATA_DIR.expanduser())
    return next((p for p in places if all((p / file).is_file() for file in file_names(dataset))), None)


def _verified(path: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The path, after its SHA-256 was recorded (first use) or checked (later)."""
    if is_collected_visual(path):
        raise DatasetFileError(
            f"{path} was collected by deflow, and its images are drawn otherwise than OGBench's: delete it to have the "
            "official file downloaded, or learn from it as collected data."
        )
    sidecar, found = folder / f"{path.name}.json", {"sha256": digest(path), "bytes": path.stat().st_size}
    if not sidecar.exists():
        write_json(sidecar, found)
    elif read_json(sidecar).get("sha256") != found["sha256"]:
        raise DatasetFileError(
            f"{path} has changed since its first use (its SHA-256 is {found['sha256'][:12]}..., not what "
            f"{sidecar.name} recorded): delete it to have it downloaded again, or "
            f"delete {sidecar} if you trust the new file."
        )
    return path


def _instead(name: str, folder: pathlib.Path) -> str:
    """What to do if there is no official file."""
    task = Environment(name).task
    assert task is not None
    by_hand = f"set {URL_VARIABLE} to a mirror's address, or copy the two files to {folder}"
    try:
        behaviour_of(task)
    except CollectionError:
        return by_hand
    return f"run `{command('collect', '--env', name)}` to collect a set of your own, {by_hand}"
