"""Tasks: an environment, and the transitions to learn from, by the task's name."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from ..environments import ActionBounds, Adapter, Environment, SuccessTiming, spec_of
from ..errors import DataError, DatasetFileError
from ..types import Batch, Spec
from .collection import Collected, collect, is_collected
from .official import found_official, official_files
from .provenance import Provenance, digest, versions
from .readers import Columns, Recording, reader_named, reader_of
from .recorded import Rules, transitions_of
from .rewards import UNCHANGED, RewardScale
from .sources import Official, Source, UserData, as_source
from .task_environment import NO_ENVIRONMENT, RECORDED_ENVIRONMENT, recorded_in, task_environment
from .validation import recorded_spec, warn_without_success


@dataclasses.dataclass(frozen=True)
class Task:
    """An offline problem. Its arrays are NumPy's, with transitions along the first axis."""

    environment: Environment | None
    """How to make the environment; None if there is only data."""

    spec: Spec
    """Its sizes."""

    train: Batch
    """N transitions. `extras["trajectory_end"]` is 1 at a trajectory's last one."""

    validation: Batch | None
    """Transitions that are not used for training, if the source has any."""

    provenance: Provenance
    """Where the transitions came from."""

    bounds: ActionBounds
    """The units of actions outside of deflow."""

    rewards: RewardScale = UNCHANGED
    """What was done to the recorded rewards, and is done to those of the environment when it is learned from."""

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
        """The environment's name; the data's where there is none, or where the data names it."""
        if self.environment is None or self.environment.named_by:
            return self.provenance.dataset
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


def load_task(
    name: str | Environment,
    source: Source | str | os.PathLike[str] = Official(),
    *,
    data_dir: str | os.PathLike[str] | None = None,
    success_timing: SuccessTiming = "pre",
    workers: int | None = None,
    progress: bool = True,
    check: Callable[[Spec], None] | None = None,
    bounds: tuple[float | Sequence[float], float | Sequence[float]] | None = None,
    rewards: RewardScale = UNCHANGED,
    frame_stack: int | None = None,
) -> Task:
    """Load a task: create its environment, find its data (or download or collect it), and check and label it.

    Args:
        name: An OGBench task name such as `cube-single-play-singletask-task2-v0`, or any Gymnasium id; `none` where
            there is data alone; `recorded` for the environment that the data names; or an `Environment`.
        source: `Official()`, `Collected(rows, seed)` (collected now if it is not there), or `UserData(path)`; a path or
            an address stands for the latter.
        data_dir: The data directory; its layout is in `deflow.data.folders`.
        success_timing: When OGBench judges success while acting; the data's rewards do not depend on it.
        workers: Number of processes of a collection; all cores if not given.
        progress: Whether to show bars.
        check: Is called with the task's sizes, before its data is looked for where an environment has them, to refuse
            what does not fit them early.
        bounds: The lowest and the highest action, where there is no environment; otherwise the data's source or its
            range says.
        rewards: What to do to the rewards.
        frame_stack: Images of the last steps that an observation is made of (default: 3 for OGBench's visual tasks,
            else 1).

    Raises:
        DataError: If the task is unknown, its spaces are not supported, a file is damaged or missing, or a folder
            cannot be written.
        CollectionInterrupted: On Ctrl-C during a collection, which the next call continues.
    """
    source = as_source(source)
    environment = task_environment(name, source, success_timing=success_timing, frame_stack=frame_stack)
    if environment is None:
        return _data_alone(source, check, bounds, rewards, 1 if frame_stack is None else frame_stack)
    if bounds is not None:
        raise DataError(f"{environment.name} has its own action bounds: leave the bounds out.")
    made = environment.make()
    try:
        spec = spec_of(made)
        if check is not None:
            check(spec)
        train, validation, provenance = _find(environment, source, data_dir, workers, progress)
        recordings = _recordings(source, train, validation, provenance)
        _check_bounds(environment, made, recordings[0], train)
        label, meaning = Rules(environment, made), provenance.terminals or recordings[0].terminals
        batch, reading, relabelled = transitions_of(train, recordings[0], spec, made.bounds, meaning, rewards, label)
        if relabelled:
            warn_without_success(train, np.asarray(batch.mask), environment.name)
        held_out = recordings[1] and transitions_of(
            validation or train, recordings[1], spec, made.bounds, meaning, rewards, label
        )
        provenance = _as_read(provenance, recordings[0], reading, len(batch))
        return Task(
            environment, spec, batch, held_out[0] if held_out else None, provenance, made.bounds, rewards, relabelled
        )
    finally:
        made.close()


def _check_bounds(environment: Environment, made: Adapter, recording: Recording, path: pathlib.Path) -> None:
    """Refuse an environment that takes other actions than the data, which names it, says.

    Raises:
        DatasetFileError: If its action bounds are others.
    """
    if not environment.named_by or recording.bounds is None:
        return
    said = ActionBounds.of(*recording.bounds, len(recording.bounds[0]), "source")
    if not np.array_equal([said.low, said.high], [made.bounds.low, made.bounds.high]):
        raise DatasetFileError(
            f"{path} has actions in {said}, but {environment.name}, in which it says that it was recorded, takes "
            f"{made.bounds}: install the version of the environment that it was recorded in, or name another."
        )


def _data_alone(
    source: Source,
    check: Callable[[Spec], None] | None,
    bounds: tuple[float | Sequence[float], float | Sequence[float]] | None,
    rewards: RewardScale,
    frame_stack: int,
) -> Task:
    """A task without an environment: sizes, bounds and horizon are the data's."""
    if not isinstance(source, UserData):
        raise DataError("Without an environment there is no official or collected data: give data of your own.")
    train, validation, provenance = _user_data(source)
    recordings = _recordings(source, train, validation, provenance)
    meaning = provenance.terminals or recordings[0].terminals
    spec = recorded_spec(train, recordings[0].columns, meaning, frame_stack)
    if check is not None:
        check(spec)
    units = _bounds(recordings, spec.action_size, bounds)
    batch, reading, _ = transitions_of(train, recordings[0], spec, units, meaning, rewards)
    held_out = recordings[1] and transitions_of(validation or train, recordings[1], spec, units, meaning, rewards)[0]
    provenance = _as_read(provenance, recordings[0], reading, len(batch))
    return Task(None, spec, batch, held_out, provenance, units, rewards)


def is_at_hand(
    name: str, source: Source | str | os.PathLike[str] = Official(), *, data_dir: str | os.PathLike[str] | None = None
) -> bool:
    """Whether a task's data is there, so that `load_task` need not collect or download it.

    Raises:
        UnknownTaskError: If nothing has this name.
    """
    source = as_source(source)
    if name in (NO_ENVIRONMENT, RECORDED_ENVIRONMENT):
        return isinstance(source, UserData)
    task = Environment(name).task
    if task is None or isinstance(source, UserData):
        return isinstance(source, UserData)
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
    """The training data, the validation data, and where they came from."""
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
        return train, validation, dataclasses.replace(provenance, validation_path=str(validation))
    if isinstance(source, UserData):
        return _user_data(source)
    if task is None:
        raise DatasetFileError(
            f"{environment.name} is not an OGBench task, so there is no dataset to download: use a file of your own."
        )
    train, validation = official_files(environment.name, source, data_dir, progress)
    return train, validation, _provenance("official", task.dataset, train, validation)


def _user_data(source: UserData) -> tuple[pathlib.Path, pathlib.Path | None, Provenance]:
    """Where the user's data lies, and its provenance."""
    reader, train = reader_of(source.path, source.reader)
    validation = None if source.validation is None else reader_of(source.validation, source.reader)[1]
    provenance = _provenance("user", recorded_in(source).dataset or train.stem, train, validation)
    columns = {name: getattr(source.columns, name) for name in source.columns.given()}
    return (
        train,
        validation,
        dataclasses.replace(provenance, reader=reader, columns=columns, terminals=source.terminals),
    )


def _provenance(
    kind: Literal["official", "user"], dataset: str, train: pathlib.Path, validation: pathlib.Path | None
) -> Provenance:
    digests = {"sha256": digest(train), "validation_sha256": None if validation is None else digest(validation)}
    where = {"path": str(train), "validation_path": None if validation is None else str(validation)}
    return Provenance(source=kind, dataset=dataset, rows=0, **where, **digests, **versions())


def _recordings(
    source: Source, train: pathlib.Path, validation: pathlib.Path | None, provenance: Provenance
) -> tuple[Recording, Recording | None]:
    """The rows to train on, and those that are held out: of the validation data, or by the source itself."""
    reader = reader_named(provenance.reader)
    columns = source.columns if isinstance(source, UserData) else Columns()
    first = reader.read(train, columns)
    return first, first.validation if validation is None else reader.read(validation, columns)


def _as_read(provenance: Provenance, recording: Recording, reading: str, rows: int) -> Provenance:
    """With what is known once the file has been read."""
    names = {name: recording.names[name] for name in ("observations", "actions") if name in recording.names}
    return dataclasses.replace(provenance, rows=rows, reading=reading, assumed=recording.assumed, names=names)


def _bounds(recordings: tuple[Recording, Recording | None], size: int, given: tuple[Any, Any] | None) -> ActionBounds:
    """The action bounds where there is no environment: as given, of the source, or the range of all actions."""
    if given is not None:
        return ActionBounds.of(*given, size, "given")
    if recordings[0].bounds is not None:
        return ActionBounds.of(*recordings[0].bounds, size, "source")
    actions = [each.columns["actions"].reshape(-1, size) for each in recordings if each is not None]
    low = np.min([each.min(0) for each in actions], axis=0)
    return ActionBounds.of(low, np.max([each.max(0) for each in actions], axis=0), size, "data")
