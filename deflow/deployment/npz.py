"""NumPy: an npz, and beside it a page of plain code that runs it and needs nothing else."""

import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np

from . import plain
from .format import AbstractFormat, Runner, register
from .program import Program

_READING = threading.Lock()
"""NumPy reads headers with `ast.literal_eval`, which several threads of Python 3.11 cannot do at once."""


@final
@register("numpy")
class NPZ(AbstractFormat):
    """A file for `plain_policy.py`, which is put beside it: `PlainPolicy("policy.npz").act(observation, noise)`."""

    suffix: ClassVar[str] = ".npz"
    beside: ClassVar[tuple[Path, ...]] = (Path(plain.plain_policy.__file__),)

    def write(self, program: Program, about: Mapping[str, Any], path: Path) -> None:
        """Write the file.

        Raises:
            ExportError: If the program has an operation that the page does not know.
        """
        page, arrays = plain.lower(program.function, program.observation, program.noise)
        numbered = {f"c{number}": array for number, array in enumerate(arrays)}
        with path.open("wb") as file:  # a path would get another suffix
            np.savez(file, about=json.dumps(about), program=json.dumps(page), **numbered)  # pyright: ignore

    def read(self, path: Path) -> Runner:
        """What the page makes of the file."""
        with _READING:
            return plain.PlainPolicy(path).act
