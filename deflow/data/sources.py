"""Sources: the file a task is learned from. `load_task` takes one of these."""

import dataclasses
import os
import pathlib
from typing import get_args

from ..errors import DataError
from .collection import Collected
from .endings import Terminals

OFFICIAL_URL = "https://rail.eecs.berkeley.edu/datasets/ogbench"
"""OGBench's own address. A mirror: https://huggingface.co/datasets/zhouzypaul/ogbench_datasets/resolve/main"""

URL_VARIABLE = "DEFLOW_DATA_URL"
"""Environment variable that replaces OGBench's address, for a mirror."""


@dataclasses.dataclass(frozen=True)
class Official:
    """OGBench's published dataset: from the data directory, from OGBench's own folder, or downloaded."""

    base_url: str | None = None
    """Address of the folder of `<dataset>.npz` (default: `DEFLOW_DATA_URL`, or else OGBench's own)."""

    download: bool = True
    """Whether a missing file may be downloaded."""

    def url(self, file: str) -> str:
        """The address of one file."""
        return f"{(self.base_url or os.environ.get(URL_VARIABLE) or OFFICIAL_URL).rstrip('/')}/{file}"


@dataclasses.dataclass(frozen=True)
class UserFile:
    """Your own npz file, one row per step: observations, actions (in the environment's own units), rewards, optionally
    next_observations, and columns that say where trajectories end.

    These are `terminations` and `truncations` (as Gymnasium gives them), `terminals` and `timeouts` (as in D4RL), or
    `terminals` alone at each trajectory's last row, perhaps with `masks`, 0 at terminations (as in OGBench; then,
    without next observations, that row only holds the last observation). See `deflow.data.endings`. A file in OGBench's
    format (with qpos, without rewards) is given the rewards of the task.
    """

    path: str | os.PathLike[str]
    """The training file."""

    validation: str | os.PathLike[str] | None = None
    """The validation file, if there is one."""

    terminals: Terminals | None = None
    """What `terminals` (or `dones`) means without a second column: `trajectory-end` or `termination`."""

    def __post_init__(self) -> None:
        if self.terminals not in (None, *get_args(Terminals)):
            raise DataError(f"terminals must be one of {', '.join(get_args(Terminals))}, got {self.terminals!r}.")
        for path in (self.path, self.validation):
            if path is not None and not pathlib.Path(path).expanduser().is_file():
                raise DataError(f"The data file {path} does not exist: check its path.")


Source = Official | Collected | UserFile
"""Where a task's data comes from."""


def as_source(source: Source | str | os.PathLike[str]) -> Source:
    """A source unchanged, or a path as the user's own file.

    Raises:
        DataError: For anything else, and where there is no such file.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, str | os.PathLike):
        return UserFile(source)
    got = f"the class {source.__name__}" if isinstance(source, type) else repr(source)
    raise DataError(f"The source must be Official(), Collected(...), UserFile(path) or a path, got {got}.")


def named_source(data: str, *, rows: int, seed: int, terminals: Terminals | None = None) -> Source:
    """The source for a recipe's `--data`: `official`, `collected` (this many rows, with this seed), or the path of a
    file, in which a lone column `terminals` has this meaning."""
    if data == "official":
        return Official()
    return Collected(rows=rows, seed=seed) if data == "collected" else UserFile(data, terminals=terminals)
