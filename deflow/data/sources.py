"""Sources: the file a task is learned from. `load_task` takes one of these."""

import dataclasses
import os
from typing import get_args

from ..errors import DataError
from .collection import Collected
from .endings import Terminals
from .readers import AS_NAMED, Columns, reader_of

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
class UserData:
    """Your own data: a file, a folder or an address that one of the readers knows.

    Its columns and conventions are in `deflow.data.readers` and `deflow.data.endings`. An npz file in OGBench's format
    (with qpos, without rewards) is given the rewards of the task.
    """

    path: str | os.PathLike[str]
    """The training data: a path, or an address such as `minari:D4RL/pen/human-v2`."""

    validation: str | os.PathLike[str] | None = None
    """The validation data, if there is any."""

    terminals: Terminals | None = None
    """What `terminals` (or `dones`) means without a second column: `trajectory-end` or `termination`."""

    reader: str | None = None
    """The name of the reader; found by the content if not given."""

    columns: Columns = AS_NAMED
    """Which of its columns are what, where they have other names than the format's own."""

    def __post_init__(self) -> None:
        if self.terminals not in (None, *get_args(Terminals)):
            raise DataError(f"terminals must be one of {', '.join(get_args(Terminals))}, got {self.terminals!r}.")
        for path in (self.path, self.validation):
            if path is not None:
                reader_of(path, self.reader)


Source = Official | Collected | UserData
"""Where a task's data comes from."""


def as_source(source: Source | str | os.PathLike[str]) -> Source:
    """A source unchanged, or a path or an address as the user's own data.

    Raises:
        DataError: For anything else, and where there is no such file.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, str | os.PathLike):
        return UserData(source)
    got = f"the class {source.__name__}" if isinstance(source, type) else repr(source)
    raise DataError(f"The source must be Official(), Collected(...), UserData(path) or a path, got {got}.")


def named_source(
    data: str,
    *,
    rows: int,
    seed: int,
    terminals: Terminals | None = None,
    reader: str | None = None,
    columns: Columns = AS_NAMED,
) -> Source:
    """The source for a recipe's `--data`: `official`, `collected` (this many rows, with this seed), or a path or an
    address, read with the further arguments."""
    if data == "official":
        return Official()
    if data == "collected":
        return Collected(rows=rows, seed=seed)
    return UserData(data, terminals=terminals, reader=reader, columns=columns)
