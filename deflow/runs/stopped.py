"""The record of a run that stopped while the runs trained with it continued."""

import dataclasses
from pathlib import Path

from ..errors import RunError
from .atomic_files import read_json, write_json

STOPPED_FILE = "stopped.json"
"""Its name, in the run's directory."""


@dataclasses.dataclass(frozen=True)
class Stopped:
    """When and why a run stopped."""

    step: int
    """The step at which it stopped. It has no rows and checkpoints after it."""

    reason: str
    """The reason, as part of a sentence."""

    checkpoint: int | None
    """Its last checkpoint, if it has one."""

    @classmethod
    def read(cls, directory: Path) -> "Stopped | None":
        """The record in the run's `directory`; `None` if it did not stop.

        Raises:
            RunError: If the file is damaged.
        """
        path = directory / STOPPED_FILE
        try:
            return cls(**read_json(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path} cannot be read ({error}); remove it to train this run again.") from error

    def write(self, directory: Path) -> None:
        """Write the record into `directory`.

        Raises:
            RunError: If it cannot be written.
        """
        write_json(directory / STOPPED_FILE, dataclasses.asdict(self))
