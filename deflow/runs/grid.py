"""A grid of trainings in one folder: which runs belong to which cell, in a file that survives a crash."""

import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from ..errors import RunError
from ..paths import absolute
from .atomic_files import read_json, write_json
from .group import RunGroup
from .hosts_group import HostsGroup
from .locking import FolderLock
from .run import Run

GRID_FILE = "grid.json"

GRID_VERSION = 1
"""Version of the file, increased when older versions of deflow can no longer read it."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """One training of a grid: how it differs from the others, and its runs."""

    choice: Mapping[str, Any]
    """What the other cells do not have, as JSON values: `{"trust-region.bound": 0.001}`."""

    runs: tuple[str, ...]
    """The directories of its runs, one per seed, relative to the grid's folder, with forward slashes."""

    seconds: float | None = None
    """How long it was trained; None unless it was trained without an interruption."""


class Grid:
    """The cells in a folder, from its `grid.json`. The runs are ordinary ones, anywhere below the folder, which may
    move as a whole.

        with Grid.open("runs/bounds") as grid:  # locked: one process at a time
            grid.write([*grid.cells, Cell({"trust-region.bound": 0.001}, grid.relative(group))])
    """

    def __init__(self, folder: Path):
        self.folder = folder
        """The folder, absolute."""
        self.cells: tuple[Cell, ...] = ()
        """The cells, in the order in which they were added."""
        self.facts: dict[str, Any] = {}
        """What holds for all of them, as JSON values: whatever the recipe needs to go on."""
        self._lock = FolderLock(folder, ".grid.lock")
        self._read()

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """The grid in a folder; one without cells if there is none yet.

        Raises:
            RunError: If its file is damaged, or was written by a newer version.
        """
        return cls(absolute(folder))

    def __contains__(self, choice: Mapping[str, Any]) -> bool:
        """Whether there is a cell with this choice."""
        return any(cell.choice == choice for cell in self.cells)

    def __getitem__(self, choice: Mapping[str, Any]) -> Cell:
        """The cell with this choice.

        Raises:
            RunError: If there is none.
        """
        for cell in self.cells:
            if cell.choice == choice:
                return cell
        raise RunError(f"{self.folder / GRID_FILE} has no cell {dict(choice)}; start it again in another folder.")

    def write(self, cells: Iterable[Cell], facts: Mapping[str, Any] | None = None) -> None:
        """Replace the cells, and what holds for all of them, atomically.

        Raises:
            RunError: If the file cannot be written.
        """
        cells, facts = tuple(cells), dict(self.facts if facts is None else facts)
        described = [{**dataclasses.asdict(cell), "runs": list(cell.runs)} for cell in cells]
        write_json(self.folder / GRID_FILE, {"schema_version": GRID_VERSION, "facts": facts, "cells": described})
        self.cells, self.facts = cells, facts

    def time(self, cell: Cell, seconds: float) -> None:
        """Record how long a cell was trained.

        Raises:
            RunError: If the file cannot be written.
        """
        self.write(dataclasses.replace(each, seconds=seconds) if each == cell else each for each in self.cells)

    def relative(self, group: RunGroup | HostsGroup) -> tuple[str, ...]:
        """The directories of a group's runs, as a cell names them."""
        return tuple(run.path.relative_to(self.folder).as_posix() for run in group.runs)

    def paths(self, cell: Cell) -> tuple[Path, ...]:
        """The directories of a cell's runs."""
        return tuple(self.folder / name for name in cell.runs)

    def group(self, cell: Cell, *, keep: int = 3, loggers: Sequence[str] = ()) -> RunGroup:
        """The runs of a cell: see `RunGroup`.

        Raises:
            RunError: If one of them is missing or cannot be read.
        """
        missing = [str(path) for path in self.paths(cell) if not path.is_dir()]
        if missing:
            raise RunError(
                f"{self.folder / GRID_FILE} names {', '.join(missing)}, which is missing: restore it from a copy, or "
                "start a new grid in another folder."
            )
        return RunGroup([Run.open(path) for path in self.paths(cell)], keep=keep, loggers=loggers)

    def finished(self, cell: Cell, step: int) -> bool:
        """Whether nothing is left to do up to `step`: every seed has stopped, or has a checkpoint and an evaluation.

        Raises:
            RunError: If a run is missing or cannot be read.
        """
        group = self.group(cell)
        going = [run for index, run in enumerate(group.runs) if index not in group.stopped]
        if not going:
            return True
        newest = [max(run.checkpoints.steps(), default=-1) for run in going]
        if min(newest) < step or step not in group.evaluated():
            return False
        return min(newest) > step or (group.has_saved(step) and group.has_best(step))

    def __enter__(self) -> Self:
        """Keep other processes from this grid, until the end of `with` or of this process.

        Raises:
            RunError: If another process works on it, or it cannot be written.
        """
        self._lock.acquire()
        self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _read(self) -> None:
        path = self.folder / GRID_FILE
        try:
            described = read_json(path)
            if described["schema_version"] > GRID_VERSION:
                raise RunError(f"{path} has schema version {described['schema_version']}: upgrade deflow.")
            cells = [Cell(cell["choice"], tuple(cell["runs"]), cell["seconds"]) for cell in described["cells"]]
            self.cells, self.facts = tuple(cells), dict(described["facts"])
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"{path} cannot be read ({type(error).__name__}: {error}): restore it from a copy, or choose another "
                "folder."
            ) from error
