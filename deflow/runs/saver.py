"""Checkpoints of runs that are trained together, written while training goes on."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import PyTree

from deflow.runs.background import Background
from deflow.runs.checkpoints import Checkpoints
from deflow.runs.errors import CheckpointError, first_of
from deflow.runs.snapshot import Snapshot


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one save asked of the training."""

    step: int
    """The step saved."""

    bytes: int
    """The size of all arrays."""

    blocked: float
    """Seconds until training could go on: the save before had to end, and the arrays had to be copied."""


class Saver:
    """Saves to several folders at once, in a thread, and keeps the last `keep` steps that all of them have.

    No failure is raised: it is said in a `RunWarning` and remembered in `failures`; the next save tries again.
    """

    def __init__(self, folders: Sequence[Checkpoints], *, keep: int = 3):
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}.")
        self.folders = tuple(folders)
        self.keep = keep
        self.costs: list[Cost] = []
        """A line per save."""
        self._in_use = list(self.folders)
        self._background = Background(self._last_sound)

    @property
    def failures(self) -> list[str]:
        """What could not be saved or removed, in a sentence each, also where a later attempt succeeded."""
        return self._background.failures

    def save(self, step: int, states: Sequence[PyTree | None], notes: Sequence[Mapping[str, Any]]) -> None:
        """Copy the states, one for each folder, and return; they are written from the copies. `None` is left out."""
        began, what = time.perf_counter(), f"Cannot save the checkpoint of step {step}"
        self.wait()
        every = [each for each in zip(self.folders, states, notes, strict=True) if each[1] is not None]
        self._in_use = [folder for folder, _, _ in every]
        with self._background.guard(what):
            snapshots = {folder: Snapshot.of(state, said).copy() for folder, state, said in every}
            self._background.start(what, lambda: self._write(step, snapshots))
            copied = sum(snapshot.bytes for snapshot in snapshots.values())
            self.costs.append(Cost(step, copied, time.perf_counter() - began))

    def wait(self) -> None:
        """Wait until what was given to `save` is written, or has failed."""
        self._background.wait()

    def _write(self, step: int, snapshots: Mapping[Checkpoints, Snapshot]) -> None:
        errors: list[CheckpointError] = []
        for folder, snapshot in snapshots.items():
            try:
                folder.write(step, snapshot)
            except CheckpointError as error:
                errors.append(error)
        if errors:
            self._background.fail(first_of(errors))
        try:
            self._prune(step, whole=not errors)
        except OSError as error:
            self._background.fail(f"Cannot remove an old checkpoint: {error}")

    def _prune(self, step: int, *, whole: bool) -> None:
        """Of the steps up to `step`, keep in each folder the newest, and `keep` that all have (all, if not `whole`)."""
        common = [old for old in self._common() if old <= step]
        kept = common[-self.keep :] if whole else common
        for folder in self._in_use:
            for old in [old for old in folder.steps() if old <= step][:-1]:
                if old not in kept:
                    folder.remove(old)

    def _common(self) -> list[int]:
        """The steps that all folders in use have, ascending."""
        every = [set(folder.steps()) for folder in self._in_use]
        return sorted(set[int]().union(*every).intersection(*every))

    def _last_sound(self) -> str:
        for step in reversed(self._common()):
            if all(folder.is_sound(step) for folder in self._in_use):
                return f"the last sound checkpoint is that of step {step}"
        return "there is no sound checkpoint yet"
