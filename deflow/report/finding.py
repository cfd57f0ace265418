"""Finding runs, or what was archived of them, and reading them together."""

import os
from collections.abc import Iterable
from pathlib import Path

from ..errors import ReportError
from .archive import is_archive, read_archive
from .reading import RunFiles, read_run


def read_runs(paths: Iterable[str | os.PathLike[str]]) -> list[RunFiles]:
    """The runs in these directories and archives, by task, algorithm and seed.

    Raises:
        ReportError: If one is neither, or there is none.
    """
    runs = [run for path in map(Path, paths) for run in (read_archive(path) if path.is_file() else [read_run(path)])]
    if not runs:
        raise ReportError("There is no run to report on; give at least one run directory.")
    return sorted(runs, key=lambda run: (run.environment, run.algorithm, run.seed, str(run.path)))


def find_runs(paths: Iterable[str | os.PathLike[str]], *, to: str = "report on") -> list[Path]:
    """The run directories and archives in and below these folders, each once. `to` says what for.

    Raises:
        ReportError: If a folder has no run.
    """
    found: dict[Path, Path] = {}
    for path in map(Path, paths):
        below: list[Path] = []
        if path.is_file() and is_archive(path):
            below.append(path)
        for folder, names, files in os.walk(path):
            if "config.json" in files:
                below.append(Path(folder))
                names.clear()  # what is in a run is no other run
                continue
            below += [file for name in sorted(files) if is_archive(file := Path(folder, name))]
            names.sort()
        if not below:
            what = (
                "There is no run in it or below it" if path.is_dir() else "It is neither a run's folder nor an archive"
            )
            what = what if path.exists() else "There is no such folder"
            raise ReportError(f"Cannot {to} {path}: {what}; give run directories, or a folder that holds some.")
        for run in below:
            found.setdefault(run.resolve(), run)
    return list(found.values())
