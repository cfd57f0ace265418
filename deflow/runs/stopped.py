"""A run that stopped while those it was trained with went on, and the file in its directory that says so."""

import dataclasses
from pathlib import Path

from deflow.runs.errors import RunError
from deflow.runs.files import read_json, write_json

NAME = "stopped.json"


@dataclasses.dataclass(frozen=True)
class Stopped:
    """When and why a run stopped."""

    step: int
    """The step at which it stopped: from there on it has no rows and no checkpoints."""

    reason: str
    """Why, as a part of a sentence."""

    checkpoint: int | None
    """Its last checkpoint, if it has one."""

    @classmethod
    def read(cls, directory: Path) -> "Stopped | None":
        """What the run in `directory` says; `None` where it did not stop. Raises `RunError` for a damaged file."""
        path = directory / NAME
        try:
            return cls(**read_json(path))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise RunError(f"{path} cannot be read ({error}); remove it to train this run again.") from error

    def write(self, directory: Path) -> None:
        """Say so in `directory`. Raises `RunError`."""
        write_json(directory / NAME, dataclasses.asdict(self))
