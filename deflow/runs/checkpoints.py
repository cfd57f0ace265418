"""Checkpoints of one run: one directory per step, written atomically and verified when read."""

import dataclasses
import errno
import os
import shutil
import tempfile
import types
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, DamagedError, RunWarning, first_line, warn
from . import storage
from .pytrees import PyTree, Snapshot, compare, copied, fill, flatten, from_host, within
from .storage import verify, write_manifest

_UNFINISHED, _REMOVED = ".saving-", ".removing-"


Like = PyTree | Callable[[dict[str, Any]], PyTree]
Restored = tuple[list[PyTree], list[dict[str, Any]], int]


class Checkpoints:
    """The checkpoints in `directory`, which is created with the first one. Only one thread may save at a time."""

    def __init__(self, directory: Path):
        self.directory = directory

    def steps(self) -> list[int]:
        """Steps that have a directory, ascending. They are verified only when they are read."""
        if not self.directory.is_dir():
            return []
        names = (path.name for path in self.directory.iterdir() if path.is_dir())
        return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)

    def save(self, step: int, state: PyTree, notes: Mapping[str, Any]) -> Path:
        """Save the arrays of `state` and the JSON `notes`, and return the directory. It replaces one of this step.

        Raises:
            CheckpointError: If that fails. Nothing is left behind, and older checkpoints remain.
        """
        return self.write(step, Snapshot.of(state, notes))

    def write(self, step: int, snapshot: Snapshot) -> Path:
        """Like `save`, for a state that was captured before."""
        target, staging = self.directory / str(step), None
        try:
            self.directory.mkdir(exist_ok=True)
            self._sweep()
            staging = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.directory))
            new = staging / str(step)
            storage.write(new, snapshot.arrays, snapshot.notes)
            storage.check_written(new, snapshot.arrays)  # before an older one goes
            write_manifest(new, step, snapshot.spec)
            if target.exists():
                target.rename(staging / "replaced")
            new.rename(target)
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise CheckpointError(
                f"Cannot save the checkpoint of step {step} to {self.directory}: {first_line(error)}; {_remedy(error)}."
            ) from error
        finally:
            if staging is not None:
                shutil.rmtree(staging, ignore_errors=True)
        return target

    def remove(self, step: int) -> None:
        """Remove a checkpoint. It is renamed first, so that it is never found half removed.

        Raises:
            OSError: If a file cannot be removed.
        """
        away = self.directory / f"{_REMOVED}{step}"
        shutil.rmtree(away, ignore_errors=True)
        (self.directory / str(step)).rename(away)
        shutil.rmtree(away, ignore_errors=True)

    def restore(
        self, like: PyTree | Callable[[dict[str, Any]], PyTree], step: int | None = None, *, part: str = ""
    ) -> tuple[PyTree, dict[str, Any], int]:
        """State, notes and step of the newest intact checkpoint, or of that of `step`.

        `like` gives the structure: it has arrays or `jax.ShapeDtypeStruct`s where the checkpoint has arrays, and its
        other leaves are kept. If shapes depend on the run's progress, it is a function (`def` or `lambda`) of the
        notes. With `part`, a path such as `agent`, only that part of the saved state is read, and `like` is that part.

        There is a `RunWarning` for each damaged checkpoint that is newer than the one used.

        Raises:
            CheckpointError: If none is intact, that of `step` is damaged, or the checkpoint's arrays are not those of
                `like`.
        """
        steps = self.steps()
        if step is not None and step not in steps:
            have = f"it has {', '.join(map(str, steps))}" if steps else "it has none"
            raise CheckpointError(f"There is no checkpoint of step {step} in {self.directory}: {have}; choose another.")
        damage: dict[int, str] = {}
        for candidate in reversed(steps) if step is None else [step]:
            try:
                state, notes = self.read(candidate, like, part)
            except DamagedError as error:
                damage[candidate] = str(error)
                continue
            for skipped, reason in damage.items():
                where = self.directory / str(skipped)
                warn(f"{where} is damaged ({reason}); using step {candidate} instead.", RunWarning)
            return state, notes, candidate
        tried = "; ".join(f"step {skipped}: {reason}" for skipped, reason in damage.items()) or "there is none"
        raise CheckpointError(f"No intact checkpoint in {self.directory} ({tried}); train again or restore a copy.")

    def read(
        self, step: int, like: PyTree | Callable[[dict[str, Any]], PyTree], part: str = ""
    ) -> tuple[PyTree, dict[str, Any]]:
        """State and notes of one checkpoint: see `restore`.

        Raises:
            DamagedError: If its files are not what was written.
            CheckpointError: If it is of another state.
        """
        directory = self.directory / str(step)
        spec = {name: leaf for name, leaf in verify(directory, step).items() if within(name, part)}
        notes = _reading(storage.read_notes, directory)
        if isinstance(like, types.FunctionType | types.MethodType):  # not `callable`: networks are, and are PyTrees
            like = like(notes)
        wanted = flatten(like, part)
        alone = {name: dataclasses.replace(spec[name], shape=wanted[name].shape) for name in copied(wanted, spec)}
        _refuse(directory, compare(wanted, {**spec, **alone}))
        arrays = _reading(storage.read_arrays, directory, spec)
        if any(_differ(arrays[name]) for name in alone):
            _refuse(directory, compare(wanted, spec))
        arrays |= {name: arrays[name][0] for name in alone}
        leaves = {**spec, **alone}.items()
        return fill(like, {name: from_host(arrays[name], leaf) for name, leaf in leaves}, part), notes

    def notes(self, step: int) -> dict[str, Any]:
        """The notes of a checkpoint, all of which is verified.

        Raises:
            DamagedError: If its files are not what was written.
        """
        verify(self.directory / str(step), step)
        return _reading(storage.read_notes, self.directory / str(step))

    def is_sound(self, step: int) -> bool:
        """Whether the checkpoint of `step` is what was written."""
        try:
            verify(self.directory / str(step), step)
        except DamagedError:
            return False
        return True

    def _sweep(self) -> None:
        """Remove what a killed process left behind while saving or removing."""
        for pattern in (_UNFINISHED, _REMOVED):
            for left in self.directory.glob(pattern + "*"):
                shutil.rmtree(left, ignore_errors=True)


def _refuse(directory: Path, differences: tuple[str, ...]) -> None:
    """Raises a `CheckpointError` if there are differences."""
    if differences:
        raise CheckpointError(
            f"The checkpoint {directory} is of another state; build the state from the run's own config.json. "
            f"These arrays differ:\n  " + "\n  ".join(differences),
            differences,
        )


def _differ(copies: np.ndarray) -> bool:
    """Whether they are not all the same, bit for bit."""
    return len({copy.tobytes() for copy in copies}) > 1


def _remedy(error: Exception) -> str:
    """What to do about a save that failed, as far as the error says."""
    codes = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    full = getattr(error, "errno", None) in codes or any(os.strerror(code) in str(error) for code in codes)
    return "free space there" if full else "see that the directory exists and can be written"


def _reading(read: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    try:
        return read(*arguments)
    except Exception as error:  # Orbax and TensorStore raise many kinds
        raise DamagedError(f"Orbax cannot read it: {first_line(error)}") from error


def restore_together(folders: Sequence[Checkpoints], stopped: Mapping[int, int], like: Like) -> Restored | None:
    """States, notes and step of the newest step with an intact checkpoint in every folder.

    `stopped` gives the step at which the run of a folder stopped. From then on it is not required; its state is that of
    its newest intact checkpoint up to the step, or else that of another folder.

    Returns `None` if there is no checkpoint, or only a first one that not all of them finished. There is a `RunWarning`
    for each damaged checkpoint that is newer than those used.

    Raises:
        CheckpointError: If no step is left.
    """
    search = _Search(folders, stopped, like)
    step = search.newest_common_step()
    if step is None:
        return None
    for index in search.stopped_by(step):
        search.found[index] = search.own_or_borrowed(index, step)
    for path, reason in search.damage.items():
        warn(f"{path} is damaged ({reason}); using step {step} instead.", RunWarning)
    states, notes = zip(*(search.found[index] for index in range(len(folders))), strict=True)
    return list(states), list(notes), step


class _Search:
    """What `restore_together` has read so far: for each folder what was found and what was damaged."""

    def __init__(self, folders: Sequence[Checkpoints], stopped: Mapping[int, int], like: Like):
        self.found: dict[int, tuple[PyTree, dict[str, Any]]] = {}
        self.damage: dict[Path, str] = {}
        self._folders, self._stopped, self._like = folders, stopped, like
        self._steps = [folder.steps() for folder in folders]

    def newest_common_step(self) -> int | None:
        """Reads the newest step that is intact in every folder that had not stopped by then.

        Returns:
            The step; None if training was killed before its first checkpoint was complete.

        Raises:
            CheckpointError: If there are checkpoints, but no step is intact in all folders.
        """
        absent: list[str] = []
        for step in sorted(set[int]().union(*self._steps), reverse=True):
            going = sorted(set(range(len(self._folders))).difference(self.stopped_by(step)))
            without = [str(self._folders[index].directory) for index in going if step not in self._steps[index]]
            if without or not going:
                absent.append(f"step {step} is not in {', '.join(without)}")
                continue
            read = {index: self._first_sound(index, [step]) for index in going}
            if all(read.values()):
                self.found = {index: each for index, each in read.items() if each is not None}
                return step
        if not self.damage and all(len(steps) <= 1 for steps in self._steps):
            return None
        tried = "; ".join([*(f"{path}: {reason}" for path, reason in self.damage.items()), *absent])
        raise CheckpointError(
            f"There is no step with an intact checkpoint in all runs ({tried}); train again or restore a copy."
        )

    def stopped_by(self, step: int) -> list[int]:
        """The folders whose run had stopped when training was at `step`."""
        return [index for index, at in self._stopped.items() if at <= step]

    def own_or_borrowed(self, index: int, step: int) -> tuple[PyTree, dict[str, Any]]:
        """The newest intact checkpoint of a stopped run up to `step` if there is one; or else another run's."""
        steps = self._steps[index]
        own = [at for at in reversed(steps) if at <= step] + [at for at in steps if at > step]
        return self._first_sound(index, own) or next(iter(self.found.values()))

    def _first_sound(self, index: int, steps: Sequence[int]) -> tuple[PyTree, dict[str, Any]] | None:
        """State and notes of the first of `steps` that is intact; the others are recorded as damaged."""
        for step in steps:
            try:
                return self._folders[index].read(step, self._like)
            except DamagedError as error:
                self.damage[self._folders[index].directory / str(step)] = str(error)
        return None
