"""What a file format for exported policies must do.

A complete member:

    @deflow.deployment.register("tpu")
    class TPU(deflow.deployment.AbstractFormat):
        suffix = ".tpu"

        def write(self, program, about, path):
            platforms = ["cpu", "tpu"]  # the first, to compare it here
            exported = jax.export.export(jax.jit(program.function), platforms=platforms)(*program.inputs())
            path.write_bytes(exported.serialize())

        def read(self, path):
            return jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)
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
