"""Provenance: where a dataset came from, recorded in a file beside it and in every run that trained on it."""

import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..errors import DatasetFileError
from .endings import Terminals
from .folders import appearing

VERSIONED = ("mujoco", "ogbench", "numpy")
"""Packages whose version affects a collected dataset."""


@dataclasses.dataclass(frozen=True)
class Provenance:
    """Where a dataset came from."""

    source: Literal["official", "collected", "user"]
    """Who made it: OGBench (official), OGBench's oracles on this machine (collected), or the user (user)."""

    dataset: str
    """Its name, such as `cube-single-play-v0`."""

    path: str
    """The training file it was read from."""

    rows: int
    """Number of training transitions."""

    sha256: str
    """Digest of the training file."""

    validation_sha256: str | None = None
    """Digest of the validation file, if there is one."""

    seed: int | None = None
    """The seed it was collected with."""

    mujoco: str = ""
    """Version of mujoco that collected it; for other sources, the installed one."""

    ogbench: str = ""
    """Version of ogbench that collected it; for other sources, the one that computed the rewards."""

    numpy: str = ""
    """Version of numpy that collected it; for other sources, the installed one."""

    validation_path: str | None = None
    """The validation file it was read from, if there is one."""

    rendering: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """How the images of a collected visual set were drawn."""

    terminals: Terminals | None = None
    """What the user said that a lone column `terminals` means."""

    reading: str = ""
    """How the columns that mark the ends of trajectories were read."""

    reader: str = "npz"
    """The reader's name."""

    columns: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Which of the source's columns the user chose, by field of `deflow.data.readers.Columns`."""

    assumed: Sequence[str] = ()
    """What the reader decided, one phrase each."""

    names: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    """The names of the coordinates of `observations` and `actions`, where the source has them."""

    def to_json(self) -> dict[str, Any]:
        """As a dictionary of strings and numbers."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> "Provenance":
        """The inverse of `to_json`. Raises a TypeError for anything else."""
        return cls(**fields)


def versions() -> dict[str, Any]:
    """Installed versions of the packages a dataset depends on."""
    return {package: importlib.metadata.version(package) for package in VERSIONED}


def digest(path: pathlib.Path) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits; of a folder, that of the names and digests of all its files."""
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.is_file())
        lines = (f"{file.relative_to(path).as_posix()} {digest(file)}\n" for file in files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_json(path: pathlib.Path, fields: dict[str, Any]) -> None:
    """Write a small file atomically."""
    with appearing(path) as temporary:
        temporary.write_text(json.dumps(fields, indent=2) + "\n")


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Read what `write_json` wrote. Raises a DatasetFileError if it is damaged."""
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise DatasetFileError(f"{path}, which deflow wrote, is damaged: delete that file and start again.") from error
    if not isinstance(fields, dict):
        raise DatasetFileError(f"{path}, which deflow wrote, is damaged: delete that file and start again.")
    return fields
