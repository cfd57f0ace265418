"""Export a trained policy: files that hold it outside of deflow, in the environment's own units.

    python recipes/export.py runs/cube-single-play-singletask-task2-v0/deflow/seed0-20260101-120000 --format numpy onnx

stablehlo needs JAX alone, onnx needs onnxruntime, and numpy needs NumPy and the page of code that is put beside it.
Every file is read back and compared with the policy before it gets its name.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.table import Table

import deflow
from deflow import cli
from deflow.deployment import registry
from deflow.deployment.export import CHECKED
from deflow.errors import DataError, ExportError


@dataclasses.dataclass(frozen=True)
class Export:
    """Options of the recipe."""

    run: Annotated[Path, tyro.conf.Positional]
    """The run's directory."""

    format: tuple[str, ...] = ("numpy",)
    """Formats to write: stablehlo, onnx, numpy, or those of your own."""

    step: int | Literal["best"] | None = None
    """Which checkpoint: that of a step, or the best (default: the newest intact one)."""

    output: Path | None = None
    """Folder for the files (default: exports/step<N> in the run's directory)."""

    data_dir: Path | None = None
    """Data directory, for observations to compare on (default: where the run's data was)."""

    import_: cli.Import = ()
    """Python files with your own parts that the run was trained with, which are run first."""


def main(options: Export) -> None:
    """Load the policy, write each file, and say how well it agrees."""
    run = cli.open_run(options.run, options.import_)
    formats = [registry[name]() for name in dict.fromkeys(options.format)]  # a file may register one
    policy = deflow.load(run, step=options.step)
    observations, where = observations_of(run, options.data_dir)
    folder = options.output or run.path / "exports" / f"step{policy.origin.step}"
    facts = {
        "policy": repr(policy).removeprefix("Policy(\n  ").removesuffix(",\n)").replace(",\n  ", "\n"),
        "compared on": where,
        "folder": str(folder),
    }
    cli.print_facts("Export", facts)
    table = Table("format", "file", "size", "largest difference")
    refused = []
    for format in formats:
        name = registry.name_of(format)
        path = folder / f"policy{format.suffix}"
        try:
            found = deflow.export(policy, path, format=format, observations=observations)
        except ExportError as error:  # the other formats are written all the same
            refused.append(f"{name}: {error}")
            continue
        ties = f", {cli.counted(found.ties, 'tie')} left out" if found.ties else ""
        table.add_row(name, path.name, cli.file_size(path), f"{found.largest:.1e}{ties}")
    if table.rows:
        cli.show(table)
        cli.say("Shapes, units and origin are in the .json beside each file.")
    if refused:
        cli.fail(" ".join(refused), code=1)


def observations_of(run: deflow.Run, data_dir: Path | None) -> tuple[Any, str]:
    """Observations of the data that the run was trained on, if it is there, and what they are in words."""
    try:
        task = deflow.runs.recorded_task(run, data_dir=data_dir)
    except DataError as error:
        return None, f"standard normal numbers, since the run's data cannot be read: {error}"
    observations = task.train.observation
    count = min(len(observations), CHECKED)
    return observations, f"{cli.counted(count, 'observation')} of the run's data"


if __name__ == "__main__":
    cli.run_plain(main, Export, description=__doc__)
