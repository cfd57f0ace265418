"""Tasks: an environment, and the transitions to learn from, by the task's name."""

import dataclasses
import os
import pathlib
from collections.abc import Callable

import numpy as np

from ..environments import Adapter, Environment, SuccessTiming, spec_of
from ..errors import DatasetFileError
from ..types import Batch, Spec
from .collection import Collected, collect, is_collected
from .endings import FLAGS, Terminals, check_continuity, read_endings
from .npz import read_columns
from .official import found_official, official_files
from .provenance import Provenance, digest, versions
from .relabelling import STATE_COLUMNS, relabel, state_widths
from .sources import Official, Source, UserFile, as_source
from .transitions import kept_rows, make_batch
from .validation import (
    check_actions,
    check_finite,
    check_flags,
    check_present,
    check_shapes,
    warn_without_success,
    with_axes,
)


@dataclasses.dataclass(frozen=True)
class Task:
    """An offline problem. Its arrays are NumPy's, with transitions along the first axis."""

    environment: Environment
    """How to make the environment."""

    spec: Spec
    """Its sizes."""

    train: Batch
    """N transitions. `extras["trajectory_end"]` is 1 at a trajectory's last one."""

    validation: Batch | None
    """Transitions that are not used for training, if the source has any."""

    provenance: Provenance
    """Where the transitions came from."""

    relabelled: bool = False
    """Whether OGBench's rules gave the rewards and masks: then a termination is a solved task."""

    def __repr__(self) -> str:
        return (
            f"Task({self.name!r}, {len(self.train):,} transitions in {self.trajectories:,} trajectories, "
            f"{self.endings}, observation {self.spec.observation_shape}, action {self.spec.action_size}, "
            f"{self.provenance.source} data in {self.provenance.path})"
        )

    @property
    def name(self) -> str:
        """The environment's name."""
        return self.environment.name

    @property
    def terminations(self) -> int:
        """Number of training transitions that are terminations (mask 0)."""
        return int(np.sum(np.asarray(self.train.mask) == 0))

    @property
    def truncations(self) -> int:
        """Number of training trajectories that end without a termination: at a time limit, or with the recording."""
        ends = np.asarray(self.train.extras["trajectory_end"]) != 0
        return int(np.sum(ends & (np.asarray(self.train.mask) != 0)))

    @property
    def successes(self) -> int | None:
        """Number of training transitions in which the task is solved; None if the data does not say."""
        return self.terminations if self.relabelled else None

    @property
    def trajectories(self) -> int:
        """Number of training trajectories."""
        return int(np.sum(np.asarray(self.train.extras["trajectory_end"])))

    @property
    def endings(self) -> str:
        """A sentence about successes, or terminations and truncations, in the data."""
        if self.successes is not None:
            return f"{self.successes:,} solved"
        return f"{self.terminations:,} terminated, {self.truncations:,} truncated (read {self.provenance.reading})"


COLUMNS = ("observations", "actions", "rewards", "next_observations", *FLAGS)
"""The columns that are read, besides the simulator's states."""


def load_task(
    name: str,
    source: Source | str | os.PathLike[str] = Official(),
    *,
    data_dir: str | os.PathLike[str] | None = None,
    success_timing: SuccessTiming = "pre",
    workers: int | None = None,
    progress: bool = True,
    check: Callable[[Spec], None] | None = None,
) -> Task:
    """Load a task: create its environment, find its data (or download or collect it), and check and label it.

    Args:
        name: An OGBench task name such as `cube-single-play-singletask-task2-v0`, or any Gymnasium id.
        source: `Official()`, `Collected(rows, seed)` (collected now if it is not there), or `UserFile(path)`; a path
            stands for the latter.
        data_dir: The data directory; its layout is in `deflow.data.folders`.
        success_timing: When OGBench judges success while acting; the data's rewards do not depend on it.
        workers: Number of processes of a collection; all cores if not given.
        progress: Whether to show bars.
        check: Is called with the task's sizes before its data is looked for, to refuse what does not fit them early.

    Raises:
        DataError: If the task is unknown, its spaces are not supported, a file is damaged or missing, or a folder
            cannot be written.
        CollectionInterrupted: On Ctrl-C during a collection, which the next call continues.
    """
    environment = Environment(name, success_timing)
    source = as_source(source)
    made = environment.make()
    try:
        if check is not None:
            check(spec_of(made))
        train, validation, provenance = _find(environment, source, data_dir, workers, progress)
        meaning = source.terminals if isinstance(source, UserFile) else None
        batch, reading, relabelled = _read(train, environment, made, meaning)
        if relabelled:
            warn_without_success(train, np.asarray(batch.mask), name)
        return Task(
            environment=environment,
            spec=spec_of(made),
            train=batch,
            validation=None if validation is None else _read(validation, environment, made, meaning)[0],
            provenance=dataclasses.replace(
                provenance,
                rows=len(batch),
                reading=reading,
                terminals=meaning,
                validation_path=None if validation is None else str(validation),
            ),
            relabelled=relabelled,
        )
    finally:
        made.close()


def is_at_hand(
    name: str, source: Source | str | os.PathLike[str] = Official(), *, data_dir: str | os.PathLike[str] | None = None
) -> bool:
    """Whether a task's data is there, so that `load_task` need not collect or download it.

    Raises:
        UnknownTaskError: If nothing has this name.
    """
    source, task = as_source(source), Environment(name).task
    if task is None or isinstance(source, UserFile):
        return isinstance(source, UserFile)
    try:
        if isinstance(source, Official):
            return found_official(task.dataset, data_dir) is not None
        return is_collected(task.dataset, source, data_dir)
    except OSError:  # a folder that cannot be read: `load_task` says so
        return False


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
            f"{environment.name} is not an OGBench task, so there is no dataset to download: use a file of your own."
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


def _read(
    path: pathlib.Path, environment: Environment, made: Adapter, meaning: Terminals | None
) -> tuple[Batch, str, bool]:
    """One file's checked transitions, how its ends were read, and whether OGBench's rules labelled it."""
    columns, spec, task = read_columns(path, COLUMNS), spec_of(made), environment.task
    relabelled = task is not None and "rewards" not in columns
    widths = state_widths(made) if relabelled else {}
    states = read_columns(path, STATE_COLUMNS) if relabelled else {}
    check_present(path, {**columns, **states}, ("observations", "actions", *(widths or ["rewards"])))
    columns = with_axes(columns, spec)
    check_shapes(path, {**columns, **states}, spec, environment.name, widths)
    check_finite(path, {**columns, **states})
    check_flags(path, columns)
    endings = read_endings(path, columns, meaning)
    check_continuity(path, columns, endings)
    keep = kept_rows(columns, endings)
    if not keep.any():
        raise DatasetFileError(f"{path} has no transitions, since every row ends a trajectory: check where they end.")
    actions = made.to_unit(columns["actions"])
    check_actions(path, actions)
    if task is not None and relabelled:
        rewards, masks = relabel(task.environment_id, made, {name: states[name][keep] for name in widths})
        return make_batch(columns, endings, actions, rewards, masks), "OGBench's", True
    masks = np.ones(len(keep), np.float32) if endings.terminated is None else (~endings.terminated).astype(np.float32)
    return make_batch(columns, endings, actions, columns["rewards"][keep], masks[keep]), endings.reading, False
