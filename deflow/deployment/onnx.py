"""ONNX by jax2onnx: runs under onnxruntime, from C++, C#, Java, JavaScript or Python."""

import contextlib
import importlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, final

import jax
from jax.extend.core import jaxpr_as_fun

from ..errors import ExportError, first_line
from .format import AbstractFormat, Runner, register
from .program import Program


@final
@register("onnx")
class ONNX(AbstractFormat):
    """A file with the inputs `observation` and `noise` and the output `action`."""

    suffix: ClassVar[str] = ".onnx"

    def write(self, program: Program, about: Mapping[str, Any], path: Path) -> None:
        """Write the file.

        Raises:
            ExportError: If a package is missing, or jax2onnx cannot express the program.
        """
        jax2onnx, onnx, inputs = _package("jax2onnx"), _package("onnx"), program.inputs()
        try:
            # Traced before, since jax2onnx replaces functions of jax.numpy while it traces.
            traced = jaxpr_as_fun(jax.make_jaxpr(program.function)(*inputs))
            with _silent("jax2onnx", "onnx_ir"):
                model = jax2onnx.to_onnx(
                    lambda observation, noise: traced(observation, noise)[0],
                    inputs=inputs,
                    input_names=["observation", "noise"],
                    output_names=["action"],
                    model_name="policy",
                )
        except Exception as error:  # of a part, or of an operation that jax2onnx does not know
            raise ExportError(
                f"jax2onnx cannot express the policy ({type(error).__name__}: {first_line(error)}): export it as "
                "stablehlo."
            ) from error
        onnx.save(model, path)

    def read(self, path: Path) -> Runner:
        """The file's program under onnxruntime, on one core.

        Raises:
            ExportError: If onnxruntime is missing, or cannot run the program.
        """
        runtime = _package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors alone
        try:
            session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its own classes derive from Exception
            raise ExportError(
                f"onnxruntime cannot run the file: {first_line(error)} Export it as stablehlo."
            ) from error

        def run(observation, noise):
            try:
                return session.run(None, {"observation": observation, "noise": noise})[0]
            except Exception as error:
                raise ExportError(f"onnxruntime cannot run the file: {first_line(error)}") from error

        return run


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExportError(f"ONNX needs the package {name}: pip install 'deflow[onnx]'.") from error


@contextlib.contextmanager
def _silent(*names: str) -> Iterator[None]:
    """Without what these packages log: jax2onnx tells of every operation of its own that cannot be imported, and
    onnx-ir of every value without a type."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
