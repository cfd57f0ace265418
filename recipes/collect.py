"""Collect a dataset with OGBench's own oracles: no account, no download.

    python recipes/collect.py --env cube-single-play-singletask-task2-v0 --rows 200000

The same settings give the same data, bit for bit, on any number of processes. To continue an interrupted collection,
run the same command again.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
import pathlib
import time

import deflow
from deflow import cli
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

    list: bool = False
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
    words: list[object] = ["--budget", "quickstart", "--env", recipe.env, "--rows", recipe.rows]
    if recipe.seed:
        words += ["--data-seed", recipe.seed]
    if recipe.data_dir != DEFAULT_DATA_DIR:
        words += ["--data-dir", recipe.data_dir]
    return cli.command("offline", *words)


if __name__ == "__main__":
    cli.run_plain(main, Collect, description=__doc__)
