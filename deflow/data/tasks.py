"""Tasks: a name becomes an environment and the transitions to learn it from."""

import dataclasses
import os
import pathlib

import numpy as np

from ..environments import Adapter, Environment, SuccessTiming, spec_of
from ..errors import DatasetFileError
from ..types import Batch, Spec
from .collection import Collected, collect
from .npz import read_columns
from .official import official_files
from .provenance import Provenance, digest, versions
from .relabelling import STATE_COLUMNS, relabel, state_widths
from .sources import Official, Source, UserFile
from .transitions import kept_rows, make_batch
from .validation import check_actions, check_finite, check_flags, check_present, check_shapes, warn_without_success


@dataclasses.dataclass(frozen=True)
class Task:
    """An offline problem. Arrays are NumPy's, with the transitions along the first axis."""

    environment: Environment
    """How to make the environment."""

    spec: Spec
    """Its sizes."""

    train: Batch
    """N transitions; `extras["trajectory_end"]` is 1 at a trajectory's last one."""

    validation: Batch | None
    """Transitions nothing is trained on, if the source has some."""

    provenance: Provenance
    """Where the transitions came from."""

    @property
    def name(self) -> str:
        """The environment's name."""
        return self.environment.name

    @property
    def terminations(self) -> int:
        """Number of training transitions after which nothing follows (mask = 0): in OGBench the solved ones."""
        return int(np.sum(np.asarray(self.train.mask) == 0))

    @property
    def trajectories(self) -> int:
        """Number of training trajectories."""
        return int(np.sum(np.asarray(self.train.extras["trajectory_end"])))


COLUMNS = ("observations", "actions", "terminals", "rewards", "masks", "next_observations")
"""What is read beside the simulator's states."""


def load_task(
    name: str,
    source: Source = Official(),
    *,
    data_dir: str | os.PathLike[str] | None = None,
    success_timing: SuccessTiming = "pre",
    workers: int | None = None,
    progress: bool = True,
) -> Task:
    """Load a task: make its environment, find its data (download or collect it if need be), check and label it.

    Args:
        name: An OGBench task name such as `cube-single-play-singletask-task2-v0`, or any Gymnasium id.
        source: `Official()`, `Collected(rows, seed)` (collected now if it is not there), or `UserFile(path)`.
        data_dir: The data directory; its layout is in `deflow.data.folders`.
        success_timing: When OGBench judges success while acting; the data's rewards do not depend on it.
        workers: Number of processes of a collection; all cores if not given.
        progress: Whether to show bars.

    Raises:
        DataError: For an unknown task, unfit spaces, a damaged or missing file, and a folder that cannot be written.
        CollectionInterrupted: On Ctrl-C during a collection. A second call continues.
    """
    environment = Environment(name, success_timing)
    made = environment.make()
    try:
        train, validation, provenance = _find(environment, source, data_dir, workers, progress)
        batch = _read(train, environment, made)
        warn_without_success(train, np.asarray(batch.mask), name)
        return Task(
            environment=environment,
            spec=spec_of(made),
            train=batch,
            validation=None if validation is None else _read(validation, environment, made),
            provenance=Provenance(**{**provenance.to_json(), "rows": len(batch)}),
        )
    finally:
        made.close()


def _find(
    environment: Environment,
    source: Source,
    data_dir: str | os.PathLike[str] | None,
    workers: int | None,
    progress: bool,
) -> tuple[pathlib.Path, pathlib.Path | None, Provenance]:
    """The training file, the validation file, and where they came from."""
    task = environment.task
    if isinstance(source, Collected):
        provenance = collect(environment.name, source, data_dir=data_dir, workers=workers, progress=progress)
        train = pathlib.Path(provenance.path)
        validation = train.with_name(f"{train.stem}-val.npz")
        for file, wanted in ((train, provenance.sha256), (validation, provenance.validation_sha256)):
            if not file.is_file() or digest(file) != wanted:
                raise DatasetFileError(
                    f"{file} is missing or no longer what was collected: delete the folder {file.parent} and "
                    "collect again."
                )
        return train, validation, provenance
    if isinstance(source, UserFile):
        train = pathlib.Path(source.path).expanduser().absolute()
        validation = None if source.validation is None else pathlib.Path(source.validation).expanduser().absolute()
        dataset, kind = train.stem, "user"
    elif task is not None:
        train, validation = official_files(environment.name, source, data_dir, progress)
        dataset, kind = task.dataset, "official"
    else:
        raise DatasetFileError(
            f"{environment.name} is not an OGBench task, so that there is no dataset to download: bring a file of "
            "your own."
        )
    return (
        train,
        validation,
        Provenance(
            source=kind,
            dataset=dataset,
            path=str(train),
            rows=0,
            sha256=digest(train),
            validation_sha256=None if validation is None else digest(validation),
            **versions(),
        ),
    )


def _read(path: pathlib.Path, environment: Environment, made: Adapter) -> Batch:
    """Read one file and check everything in it against the environment."""
    columns, states = read_columns(path, COLUMNS), {}
    task, widths = environment.task, {}
    needed = ("observations", "actions", "terminals", "rewards")
    if task is not None and "rewards" not in columns:
        widths = state_widths(made)
        states = read_columns(path, STATE_COLUMNS)
        needed = ("observations", "actions", "terminals", *widths)
    check_present(path, {**columns, **states}, needed)
    check_shapes(path, {**columns, **states}, spec_of(made), environment.name, widths)
    check_finite(path, {**columns, **states})
    check_flags(path, columns)
    keep = kept_rows(columns)
    if not keep.any():
        raise DatasetFileError(f"{path} has no transitions, since every row ends a trajectory: check its terminals.")
    actions = made.to_unit(columns["actions"])
    check_actions(path, actions)
    if widths:
        assert task is not None
        rewards, masks = relabel(task.environment_id, made, {name: states[name][keep] for name in widths})
    else:
        rewards = columns["rewards"][keep]
        masks = columns["masks"][keep] if "masks" in columns else np.ones(len(rewards), np.float32)
    return make_batch(columns, actions, rewards, masks)
