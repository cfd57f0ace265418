"""A sweep: a folder with a list of jobs that a person can read and edit, and a folder for each of them."""

import contextlib
import difflib
import os
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Self

from ..errors import RunError, SweepError
from ..paths import absolute
from ..runs import Run
from ..runs.atomic_files import write_text
from ..runs.locking import FolderLock
from .job import LIST_FILE, Job
from .record import Record

_HEAD = """\
# The runs of a sweep, a line each: the name of a folder, and a recipe with its arguments. Add lines, take some out,
# or change those that have not begun. {NAME} stands for the runs of another line, which comes first.
# Made by: """


class Sweep:
    """The jobs in a folder, from its `sweep.txt`.

    with Sweep.open("runs/sweep") as sweep:  # locked: one process at a time
        sweep.write([Job("seed=0", "offline", ("--seeds", "0"))])
    """

    def __init__(self, folder: Path):
        self.folder = folder
        """The folder, absolute."""
        self.jobs: tuple[Job, ...] = ()
        """The jobs, in the order of the list."""
        self.command: tuple[str, ...] | None = None
        """The arguments that made the list."""
        self._lock = FolderLock(folder, ".sweep.lock")

    @property
    def list_file(self) -> Path:
        """Where its list lies."""
        return self.folder / LIST_FILE

    @property
    def at_work(self) -> bool:
        """Whether a process carries it out at this moment."""
        return self._lock.held

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Self:
        """The sweep in a folder; one without jobs if there is none yet.

        Raises:
            SweepError: If its list cannot be read, or makes no sense.
        """
        sweep = cls(absolute(folder))
        sweep._read()
        return sweep

    def write(self, jobs: Iterable[Job], command: Sequence[str] = ()) -> None:
        """Replace the list, atomically.

        Raises:
            SweepError: If it makes no sense.
            RunError: If it cannot be written.
        """
        jobs = tuple(jobs)
        _check(jobs, self.list_file)
        text = f"{_HEAD}{shlex.join(command)}\n\n" + "".join(f"{job}\n" for job in jobs)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_text(self.list_file, text)
        except OSError as error:
            raise RunError(
                f"Cannot write {self.list_file}: {error.strerror or error}; choose another folder."
            ) from error
        self.jobs, self.command = jobs, tuple(command)

    def place(self, job: Job | str) -> Path:
        """The folder of a job."""
        return self.folder / (job if isinstance(job, str) else job.name)

    def record(self, job: Job | str) -> Record:
        """What has become of a job.

        Raises:
            SweepError: If its record is damaged.
        """
        return Record.read(self.place(job))

    def ready(self, job: Job) -> bool:
        """Whether the jobs that it needs are finished."""
        return all(self.record(name).state == "finished" for name in job.needs)

    def runs(self, job: Job | str) -> list[Path]:
        """The runs that a job has made for itself, by seed; those whose flow it learned first are not among them."""
        found = [Run.open(path.parent) for path in sorted(self.place(job).glob("*/*/*/config.json"))]
        learned = [run.config["behaviour"]["runs"] for run in found if run.config.get("behaviour", {}).get("own")]
        serving = {Path(path).parts[-2:] for paths in learned for path in paths}  # algorithm and name: folders move
        own = [run for run in found if run.path.parts[-2:] not in serving]
        return [run.path for run in sorted(own, key=lambda run: run.seed)]

    def __enter__(self) -> Self:
        """Keep other processes from this sweep, until the end of `with` or of this process.

        Raises:
            RunError: If another process works on it, or it cannot be written.
        """
        self._lock.acquire()
        self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def _read(self) -> None:
        path = self.list_file
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (FileNotFoundError, NotADirectoryError):
            return
        except (OSError, UnicodeDecodeError) as error:
            raise SweepError(f"{path} cannot be read: {error}.") from error
        jobs, made = [], _HEAD.splitlines()[-1].strip()
        for number, line in enumerate(map(str.strip, lines), 1):
            if line.startswith(made):
                with contextlib.suppress(ValueError):  # a comment may be edited
                    self.command = tuple(shlex.split(line.removeprefix(made)))
            elif line and not line.startswith("#"):
                try:
                    jobs.append(Job.read(line))
                except SweepError as error:
                    raise SweepError(f"{path}, line {number}: {error}") from error
        _check(jobs, path)
        self.jobs = tuple(jobs)


def _check(jobs: Sequence[Job], path: Path) -> None:
    seen: set[str] = set()
    for job in jobs:
        if job.name in seen:
            raise SweepError(f"{path} has {job.name} twice: give each run a name of its own.")
        for name in job.needs:
            if name not in seen:
                near = difflib.get_close_matches(name, seen, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise SweepError(f"{path}: {job.name} needs the runs of {name!r}, which is no line before it.{hint}")
        seen.add(job.name)
