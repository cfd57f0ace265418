"""Collect a dataset with OGBench's own oracles: no account, no download.

    python recipes/collect.py --env cube-single-play-singletask-task2-v0 --rows 200000

The same settings give the same data bit for bit, on any number of processes; an interrupted collection continues where
it was when the same command is given again.
"""

import dataclasses
import pathlib
import sys
import time
from typing import Annotated

import tyro

import deflow.data
from deflow.data.collection import collection_folder
from deflow.data.folders import DEFAULT_DATA_DIR
from deflow.data.relabelling import task_successes


@dataclasses.dataclass(frozen=True)
class Collect:
    """Collect a dataset with OGBench's own oracles (cube, scene and puzzle 'play', pointmaze 'navigate')."""

    env: str = "cube-single-play-singletask-task2-v0"
    """Task whose dataset is wanted; the tasks of one environment share it."""

    rows: int = 1_000_000
    """Number of training transitions; rounded up to whole episodes."""

    validation_rows: int | None = None
    """Number of validation transitions; a tenth of the rows if not given."""

    seed: int = 0
    """Seed of all randomness; another seed gives another dataset."""

    data_dir: pathlib.Path = DEFAULT_DATA_DIR
    """Folder of all data; the set appears in its sub-folder `collected`."""

    workers: int | None = None
    """Number of processes; all cores if not given. The data does not depend on it."""

    list: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Only print the names of all tasks."""


def main(recipe: Collect) -> None:
    if recipe.list:
        print("\n".join(deflow.data.task_names()))
        return
    settings = deflow.data.Collected(rows=recipe.rows, seed=recipe.seed, validation_rows=recipe.validation_rows)
    start = time.perf_counter()
    provenance = deflow.data.collect(recipe.env, settings, data_dir=recipe.data_dir, workers=recipe.workers)
    seconds = time.perf_counter() - start

    folder = collection_folder(provenance.dataset, settings, recipe.data_dir)
    print(f"{provenance.dataset}: {provenance.rows:,} transitions in {folder} ({seconds:.0f} s)")
    for task, successes in task_successes(recipe.env, pathlib.Path(provenance.path)).items():
        print(f"  {task}: {successes:,} transitions where the task is solved")
    print(f"Next: python recipes/offline.py --env {recipe.env} --data-dir {recipe.data_dir}")


if __name__ == "__main__":
    try:
        main(tyro.cli(Collect, description=__doc__))
    except deflow.data.DataError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt as error:
        print(error if str(error) else "Interrupted.", file=sys.stderr)
        sys.exit(130)
