"""Collect a dataset with OGBench's own oracles: no account, no download.

    python recipes/collect.py --env cube-single-play-singletask-task2-v0 --rows 200000

The same settings give the same data, bit for bit, on any number of processes. To continue an interrupted collection,
run the same command again.
"""

import dataclasses
import difflib
import pathlib
import shlex
import sys
import time
from collections.abc import Sequence
from typing import Annotated

import tyro

import deflow
from deflow.data.folders import DEFAULT_DATA_DIR


@dataclasses.dataclass(frozen=True)
class Collect:
    """Collect a dataset with OGBench's own oracles (cube, scene and puzzle 'play', pointmaze 'navigate')."""

    env: str = "cube-single-play-singletask-task2-v0"
    """Task whose dataset to collect; the tasks of one environment share it."""

    rows: int = 1_000_000
    """Number of training transitions; rounded up to whole episodes."""

    validation_rows: int | None = None
    """Number of validation transitions (default: a hundredth of the rows)."""

    seed: int = 0
    """Seed of all randomness; a different seed gives a different dataset."""

    data_dir: pathlib.Path = DEFAULT_DATA_DIR
    """Data directory; the dataset is written to its folder `collected`."""

    workers: int | None = None
    """Number of processes (default: all cores). The data does not depend on it."""

    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only print the names of all tasks."""


def main(recipe: Collect) -> None:
    """Collect, and say what was collected, where it is and what to do with it."""
    if recipe.list:
        print("\n".join(deflow.environments.task_names()))
        return
    settings = deflow.data.Collected(rows=recipe.rows, seed=recipe.seed, validation_rows=recipe.validation_rows)
    start = time.perf_counter()
    provenance = deflow.data.collect(recipe.env, settings, data_dir=recipe.data_dir, workers=recipe.workers)
    seconds = time.perf_counter() - start

    train = pathlib.Path(provenance.path)
    print(f"{provenance.dataset}: {provenance.rows:,} transitions in {train.parent} ({seconds:.0f} s)")
    for task, successes in deflow.data.task_successes(recipe.env, train).items():
        print(f"  {task}: {successes:,} transitions where the task is solved")
    print(f"Next: {next_command(recipe)}")


def next_command(recipe: Collect) -> str:
    """The command that trains on what was collected."""
    words = ["python recipes/offline.py", "--env", recipe.env, "--data collected --rows", str(recipe.rows)]
    if recipe.seed:
        words += ["--data-seed", str(recipe.seed)]
    if recipe.data_dir != DEFAULT_DATA_DIR:
        words += ["--data-dir", shlex.quote(str(recipe.data_dir))]
    return " ".join(words)


def run(arguments: Sequence[str]) -> None:
    """Parse the arguments and collect; DataError for a mistake in them."""
    flags = ["--help", *(f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Collect))]
    for given in (argument.split("=")[0].replace("_", "-") for argument in arguments if argument.startswith("--")):
        if given not in flags:
            near = difflib.get_close_matches(given, flags, n=1)
            guess = f"; did you mean {near[0]}?" if near else "."
            raise deflow.errors.DataError(f"There is no flag {given}{guess} All flags: {' '.join(flags)}")
    main(tyro.cli(Collect, args=arguments, prog="recipes/collect.py", description=__doc__))


if __name__ == "__main__":
    try:
        run(sys.argv[1:])
    except deflow.errors.DataError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        print(f"error: {error if str(error) else 'interrupted.'}", file=sys.stderr)
        sys.exit(130)
