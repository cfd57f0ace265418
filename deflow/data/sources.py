"""Sources: which file a task is learned from. One of these is what `load_task` is told."""

import dataclasses
import os
import pathlib

from ..errors import DataError
from .collection import Collected

OFFICIAL_URL = "https://rail.eecs.berkeley.edu/datasets/ogbench"
"""OGBench's own address. A mirror: https://huggingface.co/datasets/zhouzypaul/ogbench_datasets/resolve/main"""

URL_VARIABLE = "DEFLOW_DATA_URL"
"""Environment variable that replaces OGBench's address, for a mirror."""


@dataclasses.dataclass(frozen=True)
class Official:
    """The dataset OGBench published: from the data directory, from OGBench's own folder, or downloaded."""

    base_url: str | None = None
    """Address below which `<dataset>.npz` lies; `DEFLOW_DATA_URL`, else OGBench's own, if not given."""

    download: bool = True
    """Whether a missing file may be downloaded."""

    def url(self, file: str) -> str:
        """The address of one file."""
        return f"{(self.base_url or os.environ.get(URL_VARIABLE) or OFFICIAL_URL).rstrip('/')}/{file}"


@dataclasses.dataclass(frozen=True)
class UserFile:
    """The user's own npz file with the columns observations, actions, rewards and terminals.

    `terminals` is 1 at a trajectory's last row. Optional: `masks` (0 where the task was solved; 1 everywhere if not
    given) and `next_observations`. Without the latter a trajectory's last row holds its last observation only, as in
    OGBench's files. Actions are in the environment's own units. A file in OGBench's format (with qpos, without rewards)
    is given the rewards of the task.
    """

    path: str | os.PathLike[str]
    """The training file."""

    validation: str | os.PathLike[str] | None = None
    """The validation file, if there is one."""

    def __post_init__(self) -> None:
        for path in (self.path, self.validation):
            if path is not None and not pathlib.Path(path).expanduser().is_file():
                raise DataError(f"There is no data file {path}: check its path.")


Source = Official | Collected | UserFile
"""Where a task's data comes from."""


def named_source(data: str, *, rows: int, seed: int) -> Source:
    """What a recipe's `--data` says: `official`, `collected` (so many rows, with this seed), or the path of a file."""
    if data == "official":
        return Official()
    return Collected(rows=rows, seed=seed) if data == "collected" else UserFile(data)
