"""What has become of a job: a file in its folder."""

import contextlib
import dataclasses
import socket
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import psutil

from ..errors import SweepError
from ..runs.atomic_files import read_json, write_json

RECORD_FILE = "job.json"
"""Its name, in the job's folder."""

State = Literal["to do", "submitted", "running", "finished", "failed", "killed", "interrupted", "stopped early"]


@dataclasses.dataclass(frozen=True)
class Record:
    """What has become of a job."""

    state: State = "to do"
    """submitted: a queue has it; interrupted: it was asked to end, and goes on when the sweep does; killed: by
    another's signal; stopped early: it saved and ended, since others were better."""

    command: str | None = None
    """The command that was run."""

    said: str = ""
    """The last sentence of a job that failed, or why it was stopped."""

    seconds: float = 0.0
    """How long it has run, all tries together."""

    tries: int = 0
    """How often it was begun or continued."""

    peak: int = 0
    """The most memory that it has taken, in bytes, with all its processes."""

    queue: str | None = None
    """The queue's name for it."""

    process: tuple[str, int, float] | None = None
    """Host, number and start of the process that runs it."""

    @classmethod
    def read(cls, folder: Path) -> "Record":
        """The record in a job's folder; that of a job to do if there is none.

        Raises:
            SweepError: If the file is damaged.
        """
        path = folder / RECORD_FILE
        try:
            content: dict[str, Any] = read_json(path)
            process = content.pop("process")
            record = cls(**content, process=None if process is None else tuple(process))
            for name, hint in get_type_hints(cls).items():
                if not _is(getattr(record, name), hint):
                    raise ValueError(f"{name} is {getattr(record, name)!r}")
            return record
        except (FileNotFoundError, NotADirectoryError):
            return cls()
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise SweepError(
                f"{path} cannot be read ({type(error).__name__}: {error}): remove it, and the run goes on from its "
                "checkpoint."
            ) from error

    def write(self, folder: Path) -> "Record":
        """Write the record into a job's folder, which is made if it is not there.

        Raises:
            RunError: If it cannot be written.
        """
        with contextlib.suppress(OSError):  # which writing says
            folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / RECORD_FILE, dataclasses.asdict(self))
        return self

    @property
    def over(self) -> bool:
        """Whether nothing is left to do. (What was stopped early can go on.)"""
        return self.state == "finished"

    def alive(self) -> psutil.Process | None:
        """The process that runs it on this machine, which may have outlived the one that started it."""
        if self.state != "running" or self.process is None or self.process[0] != socket.gethostname():
            return None
        try:
            process = psutil.Process(self.process[1])
            same = abs(process.create_time() - self.process[2]) < 1 and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.Error, ValueError, OverflowError):  # it is gone, or the record has numbers that no process has
            return None
        return process if same else None


def _is(value: Any, hint: Any) -> bool:
    """Whether a value is of a type that a record has."""
    origin, of = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in of
    if origin is UnionType:
        return any(_is(value, one) for one in of)
    if origin is tuple:
        return isinstance(value, tuple) and len(value) == len(of) and all(map(_is, value, of))
    return isinstance(value, (int, float) if hint is float else hint)


def identity(process: psutil.Process) -> tuple[str, int, float]:
    """What distinguishes a process from all others: its host, its number, and when it began."""
    return socket.gethostname(), process.pid, process.create_time()
