"""StableHLO by `jax.export`: runs wherever JAX does, on a CPU or with CUDA, without deflow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import jax
import jax.export
import numpy as np

from ..errors import ExportError, first_line
from .format import AbstractFormat, Runner, register
from .program import Program


@final
@register("stablehlo")
class StableHLO(AbstractFormat):
    """A file for `jax.export.deserialize(bytearray(file)).call(observation, noise)`, which needs JAX alone."""

    suffix: ClassVar[str] = ".stablehlo"

    def write(self, program: Program, about: Mapping[str, Any], path: Path) -> None:
        """Write the file, for CPUs and for CUDA.

        Raises:
            ExportError: If the program cannot be exported.
        """
        try:
            exported = jax.export.export(jax.jit(program.function), platforms=["cpu", "cuda"])(*program.inputs())
        except Exception as error:  # of a part
            raise ExportError(
                f"The policy cannot be exported ({type(error).__name__}: {first_line(error)}): its parts must consist "
                "of JAX's operations, for any number of observations."
            ) from error
        path.write_bytes(exported.serialize())

    def read(self, path: Path) -> Runner:
        """The file's program, compiled at its first call."""
        call = jax.jit(jax.export.deserialize(bytearray(path.read_bytes())).call)
        return lambda observation, noise: np.asarray(call(observation, noise))
