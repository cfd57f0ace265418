"""A path as it is kept and handed on."""

import os
from pathlib import Path


def absolute(path: str | os.PathLike[str]) -> Path:
    """The path from the root on, without `~` and without `..`, which Orbax refuses. Links stay as they are, unless the
    path goes up."""
    path = Path(path).expanduser().absolute()
    return path.resolve() if ".." in path.parts else path
