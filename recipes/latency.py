"""Measure how long a policy's action takes, as a user calls it: in deflow and in each format, on one core.

    python recipes/latency.py runs/cube-single-play-singletask-task2-v0/deflow/seed0-20260101-120000

The files are written into a temporary folder. Other work on the machine makes the slowest calls slower.
"""

import deflow.workers.early_interrupt  # isort: split

import os

if __name__ == "__main__":  # before NumPy and JAX start threads
    os.environ.update(dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import dataclasses
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import tyro
from rich.table import Table

import deflow
from deflow import cli
from deflow.deployment import Program, latency, registry
from deflow.errors import ExportError


@dataclasses.dataclass(frozen=True)
class Latency:
    """Options of the recipe."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""

    format: tuple[str, ...] = ("stablehlo", "onnx", "numpy")
    """Formats to measure."""

    step: int | Literal["best"] | None = None
    """Which checkpoint: that of a step, or the best (default: the newest intact one)."""

    calls: int = 2_000
    """Calls of each, after some that are not measured."""

    import_: cli.Import = ()
    """Python files with your own parts that the run was trained with, which are run first."""

    def __post_init__(self):
        if self.calls < 1:
            raise ValueError(f"--calls must be at least 1, got {self.calls}.")


def main(options: Latency) -> None:
    """Load the policy, write each file, and time both."""
    run = cli.open_run(options.run, options.import_)
    formats = {name: registry[name]() for name in options.format}
    policy = deflow.load(run, step=options.step)
    program, random = Program.of(policy), np.random.default_rng(0)
    observation = random.standard_normal((1, *program.observation.shape)).astype(program.observation.dtype)
    noise = random.standard_normal((1, *program.noise.shape), np.float32)
    cli.say(repr(policy))
    table = Table("one action", "median", "99th percentile", "size")

    def row(name, call, size):
        taken = latency(call, calls=options.calls)
        table.add_row(name, f"{taken.median:.3f} ms", f"{taken.slowest_percent:.3f} ms", size)

    row("policy.act", lambda: policy.act(observation[0]), "")
    row("policy.act, deterministic", lambda: policy.act(observation[0], deterministic=True), "")
    refused = []
    with tempfile.TemporaryDirectory() as folder:
        for name, format in formats.items():
            path = Path(folder) / f"policy{format.suffix}"
            try:
                format.write(program, {}, path)
                runner = format.read(path)
            except ExportError as error:
                refused.append(f"{name}: {error}")
                continue
            row(name, lambda runner=runner: runner(observation, noise), cli.file_size(path))
    cli.show(table)
    if refused:
        cli.fail(" ".join(refused), code=1)


if __name__ == "__main__":
    cli.run_plain(main, Latency, description=__doc__)
