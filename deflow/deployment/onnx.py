"""ONNX by jax2onnx: runs under onnxruntime, from C++, C#, Java, JavaScript or Python."""

import importlib
from collections.abc import Mapping
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
            ExportError: If jax2onnx is missing or cannot express the program.
        """
        jax2onnx = _package("jax2onnx")
        inputs = program.inputs()
        try:
            # Traced before, since jax2onnx replaces functions of jax.numpy while it traces.
            traced = jaxpr_as_fun(jax.make_jaxpr(program.function)(*inputs))
            model = jax2onnx.to_onnx(
                lambda observation, noise: traced(observation, noise)[0],
                inputs=inputs,
                input_names=["observation", "noise"],
                output_names=["action"],
                model_name="policy",
            )
        except Exception as error:  # of a part, or of an operation that jax2onnx does not know
            raise ExportError(
                f"jax2onnx cannot express the policy: {first_line(error)} Export it as stablehlo."
            ) from error
        _package("onnx").save(model, path)

    def read(self, path: Path) -> Runner:
        """The file's program under onnxruntime, on one core."""
        runtime = _package("onnxruntime")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        return lambda observation, noise: session.run(None, {"observation": observation, "noise": noise})[0]


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ExportError(f"ONNX needs the package {name}: pip install 'deflow[onnx]'.") from error
