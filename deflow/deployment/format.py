"""What a file format for exported policies must do.

A complete member:

    @deflow.deployment.register("lowered-text")
    class LoweredText(deflow.deployment.AbstractFormat):
        suffix = ".txt"

        def write(self, program, about, path):
            path.write_text(jax.jit(program.function).lower(*program.inputs()).as_text())

        def read(self, path):
            raise NotImplementedError
"""

import abc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import equinox as eqx
import numpy as np

from ..registry import Registry
from .program import Program

Runner = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Maps observations (B, *observation) and noises (B, candidates, noise) to actions, all NumPy arrays."""


class AbstractFormat(eqx.Module):
    """Writes a policy's program into a file, and reads it back to see that the file does what the policy does."""

    suffix: ClassVar[str]
    """How the file's name ends, with its dot."""

    beside: ClassVar[tuple[Path, ...]] = ()
    """Files of deflow that are put beside it."""

    @abc.abstractmethod
    def write(self, program: Program, about: Mapping[str, Any], path: Path) -> None:
        """Write the file. `about` is the description that is written beside it, for formats that have room for it.

        Raises:
            ExportError: If the program cannot be expressed, or a package is missing.
        """

    @abc.abstractmethod
    def read(self, path: Path) -> Runner:
        """What the file holds, as a user would run it, on one core."""


registry: Registry[AbstractFormat] = Registry("format", "deployment", (AbstractFormat,))
"""The formats, by name."""
register = registry.register
"""Class decorator: adds a format under a name, see `deflow.registry.Registry.register`."""
