"""Collection: a dataset in OGBench's own format from OGBench's own oracles, without a download.

A visual set is played as the set of states is, and its images are drawn afterwards, an episode in each process.

Every episode has its own seed, derived from the dataset's seed and the episode's index, so the result depends on
neither the number of workers nor interruptions, and a smaller dataset is the beginning of a larger one. Finished
episodes are kept in one file each until all are there and the dataset is written.
"""

import concurrent.futures
import contextlib
import dataclasses
import os
import pathlib
import shutil
from collections.abc import Iterator

import filelock
import numpy as np

from ..errors import CollectionError, CollectionInterrupted, DatasetFileError
from ..progress import Bar
from ..workers import BrokenProcessPool, WorkerPool, usable_cores
from .collection_plan import EPISODES_FOLDER, PLAN_FILE, Collected, Plan, Stage, collection_folder, make_plan
from .episodes import SPLITS, read_episode
from .folders import appearing, check_space, make_folder
from .provenance import Provenance, digest, read_json, versions, write_json
from .visual import write_visual

PROVENANCE_FILE = "provenance.json"


def is_collected(dataset: str, settings: Collected, data_dir: str | os.PathLike[str] | None) -> bool:
    """Whether a dataset's collection is complete."""
    return (collection_folder(dataset, settings, data_dir) / PROVENANCE_FILE).exists()


def collect(
    name: str,
    settings: Collected = Collected(),
    *,
    data_dir: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Provenance:
    """Collect a task's dataset, continue a collection, or return at once if it is complete.

    Args:
        name: An OGBench task name such as `cube-single-play-singletask-task2-v0`.
        settings: How much, and from which seed.
        data_dir: The data directory (see `deflow.data.folders`).
        workers: Number of processes; all cores if not given. The result does not depend on it.
        progress: Whether to show a bar.

    Raises:
        UnknownTaskError: If no task has this name.
        CollectionError: If there is no oracle for this task, or a worker failed.
        FolderError: If the folder cannot be written, or its disk is full.
        CollectionInterrupted: On Ctrl-C. A second call continues.
    """
    plan = make_plan(name, settings, data_dir)
    if workers is not None and workers < 1:
        raise CollectionError(f"workers must be at least 1, got {workers}.")
    make_folder(plan.folder)
    with _alone(plan, progress):
        if (plan.folder / PROVENANCE_FILE).exists():
            _check_plan(plan, ("dataset", "seed", "steps"))  # complete: it may be older than today's versions
        else:
            _check_plan(plan, tuple(plan.fingerprint()))
            make_folder(plan.folder / EPISODES_FOLDER)
            for stage in plan.stages():
                _do_missing(plan, stage, workers or usable_cores(), progress)
            _assemble(plan)
        return read_provenance(plan.folder)


@contextlib.contextmanager
def _alone(plan: Plan, progress: bool) -> Iterator[None]:
    """A context that only one process at a time can enter. It says if it has to wait; the system frees the lock of a
    process that was killed."""
    lock = filelock.FileLock(plan.folder / ".lock")
    try:
        lock.acquire(timeout=1)
    except filelock.Timeout:
        if progress:
            Bar.write(f"Another process is collecting {plan.dataset} in {plan.folder}: waiting until it has ended.")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def read_provenance(folder: pathlib.Path) -> Provenance:
    """The provenance of a complete collected set."""
    path = folder / PROVENANCE_FILE
    try:
        provenance = Provenance.from_json(read_json(path))
    except TypeError as error:
        raise DatasetFileError(f"{path} is damaged: delete the folder {folder} and collect again.") from error
    return dataclasses.replace(provenance, path=str(folder / pathlib.Path(provenance.path).name))


def _check_plan(plan: Plan, keys: tuple[str, ...]) -> None:
    """Raises a `CollectionError` if the folder has a collection with different settings."""
    path, wanted = plan.folder / PLAN_FILE, plan.fingerprint()
    if not path.exists():
        write_json(path, wanted)
    found = read_json(path)
    different = [key for key in keys if found.get(key) != wanted[key]]
    if different:
        raise CollectionError(
            f"{plan.folder} holds a collection made with other {' and '.join(different)}: delete that folder, or "
            "choose another data directory."
        )


def _do_missing(plan: Plan, stage: Stage, workers: int, progress: bool) -> None:
    wanted = [(split, index) for split in SPLITS for index in range(plan.episodes[split])]
    missing = [(split, index) for split, index in wanted if read_episode(stage.file(split, index)) is None]
    check_space(plan.folder, stage.rows * stage.row_bytes * (len(missing) + len(wanted)))
    if not missing:
        return
    bar = Bar(
        total=len(wanted) * stage.rows,
        initial=(len(wanted) - len(missing)) * stage.rows,
        desc=f"{stage.name} {plan.dataset}",
        unit=f" {stage.unit}",
        unit_scale=True,
        disable=not progress,
        smoothing=0.1,
    )
    try:
        with bar, WorkerPool(min(workers, len(missing)), variables=stage.variables) as pool:
            jobs = [pool.submit(stage.work, *stage.arguments(split, index)) for split, index in missing]
            for job in concurrent.futures.as_completed(jobs):
                bar.update(job.result())
    except KeyboardInterrupt as error:
        raise CollectionInterrupted(
            f"Interrupted: the finished episodes are kept in {plan.folder}, and the same command continues from there."
        ) from error
    except BrokenProcessPool as error:
        raise CollectionError(
            f"A worker process was killed, perhaps because memory ran out: the finished episodes are kept in "
            f"{plan.folder}, and the same command with fewer workers continues from there."
        ) from error


def _assemble(plan: Plan) -> None:
    digests, rendering = {}, {}
    for split, path in plan.files.items():
        episodes = [read_episode(plan.episode_file(split, index)) for index in range(plan.episodes[split])]
        if any(episode is None for episode in episodes):
            raise CollectionError(f"An episode in {plan.folder} is damaged: run the same command again to replace it.")
        whole = [episode for episode in episodes if episode is not None]
        columns = {name: np.concatenate([episode[name] for episode in whole]) for name in whole[0]}
        if plan.is_visual:
            files = [plan.images_file(split, index) for index in range(plan.episodes[split])]
            rendering = write_visual(path, columns, files)
        else:
            with appearing(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, allow_pickle=False, **columns)
        digests[split] = digest(path)
    provenance = Provenance(
        source="collected",
        dataset=plan.dataset,
        path=str(plan.files["train"]),
        rows=plan.episodes["train"] * plan.steps,
        sha256=digests["train"],
        validation_sha256=digests["val"],
        seed=plan.seed,
        rendering=rendering,
        **versions(),
    )
    write_json(plan.folder / PROVENANCE_FILE, provenance.to_json())
    shutil.rmtree(plan.folder / EPISODES_FOLDER)
