"""Readers: what turns a file, a folder or an address into named columns, and says what it assumed.

A complete member:

    @deflow.data.readers.register("folder-of-npy")
    class FolderOfNpy(deflow.data.readers.AbstractReader):
        def suits(self, path):
            return (path / "observations.npy").is_file()

        def read(self, path, columns):
            names = ("observations", "actions", "rewards", "terminations", "truncations")
            return deflow.data.readers.Recording({name: np.load(path / f"{name}.npy") for name in names})
"""

import abc
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ...environments import ReferenceScores
from ...errors import DatasetFileError
from ...registry import Registry
from ..endings import Terminals


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which of a source's columns (arrays, keys) are what. What is empty is as the reader's format has it."""

    observation: tuple[str, ...] = ()
    """Names or patterns such as `joint_*`; the columns are joined in this order."""

    action: tuple[str, ...] = ()
    """Names or patterns; the columns are joined in this order."""

    reward: str | None = None
    """The reward of a step."""

    termination: str | None = None
    """1 where an episode is over for good."""

    truncation: str | None = None
    """1 where an episode was cut off."""

    episode: str | None = None
    """The episode's number or name: where it changes, a trajectory ends."""

    time: str | None = None
    """Time, or the step within the episode: a gap ends a trajectory."""

    def __post_init__(self) -> None:
        for name in ("observation", "action"):
            if isinstance(value := getattr(self, name), str):  # a single one
                object.__setattr__(self, name, (value,))

    def given(self) -> dict[str, Any]:
        """The fields that are set."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in fields.items() if value}

    @classmethod
    def restore(cls, given: Mapping[str, Any]) -> "Columns":
        """The inverse of `given`, also after JSON, which has lists instead of tuples."""
        fields: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in given.items()}
        return cls(**fields)


AS_NAMED = Columns()
"""Every column has the name that the reader's format gives it."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """What a source holds, before any check: N rows, one per step."""

    columns: dict[str, np.ndarray]
    """By deflow's names: `observations` (N, *observation), `actions` (N, A) in the user's units, `rewards` (N,),
    perhaps `next_observations`, and the flags of `deflow.data.endings`. Without next observations, a trajectory's last
    row has no next state."""

    assumed: tuple[str, ...] = ()
    """What the reader decided, one phrase each: which columns, in which order, where trajectories end."""

    validation: "Recording | None" = None
    """Rows that the source itself holds out."""

    environment: str | None = None
    """The name of the environment it was recorded in, if the source says."""

    bounds: tuple[np.ndarray, np.ndarray] | None = None
    """The lowest and highest action, each of shape (A,), if the source says."""

    names: dict[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    """The names of a column's coordinates, such as {"observations": ("joint_0", "joint_1")}, if the source has them."""

    terminals: Terminals | None = None
    """What a lone `terminals` means in this format, if the user does not say; None as in `deflow.data.endings`."""


@dataclasses.dataclass(frozen=True)
class RecordedIn:
    """What a source says of the environment that it was recorded in, which is known before its rows are read."""

    dataset: str = ""
    """The source's own name, if it has another than its file."""

    environment: str | None = None
    """The Gymnasium id of the environment in which it is to be evaluated, if the source says."""

    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What `gymnasium.make` is called with."""

    wrappers: tuple[str, ...] = ()
    """Names of the wrappers that were around it."""

    keys: tuple[str, ...] = ()
    """The entries of dictionary observations that the recording's are joined from, in this order."""

    reference: ReferenceScores | None = None
    """Between which returns scores are normalized there, if the source says."""

    picture_effects: bool = True
    """Whether the images of a visual task have shadows and smooth edges; those that were collected here have none."""


class AbstractReader(abc.ABC):
    """Reads one format. It runs no code from a file, and holds nothing open."""

    names_environments: ClassVar[bool] = False
    """Whether sources of this format usually say in which environment they were recorded."""

    def locate(self, address: str) -> pathlib.Path:
        """Where the data lies; after `NAME:` of an address, or a path.

        Raises:
            DataError: If there is nothing.
        """
        path = pathlib.Path(address).expanduser().absolute()
        if not path.exists():
            raise DatasetFileError(f"There is no data at {path}: check the path.")
        return path

    @abc.abstractmethod
    def suits(self, path: pathlib.Path) -> bool:
        """Whether a file or folder is of this format, by its content. Damaged files of other formats are no reason to
        raise."""

    def recorded_in(self, path: pathlib.Path, columns: Columns) -> RecordedIn:
        """What the source says of its environment; nothing, unless the format has it.

        Raises:
            DataError: As `read`.
        """
        return RecordedIn()

    @abc.abstractmethod
    def read(self, path: pathlib.Path, columns: Columns) -> Recording:
        """Everything there is.

        Raises:
            DatasetFileError: If it is damaged, or columns are missing: what was wrong, what was got, what to do.
            DataError: If a package is missing.
        """


registry: Registry[AbstractReader] = Registry("reader", "data.readers", (AbstractReader,))
"""The readers, by name."""
register = registry.register
"""Class decorator: adds a reader under a name, see `deflow.registry.Registry.register`."""
