"""Saving checkpoints and rows in the background. A failure to save never ends the training."""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import CheckpointError, DamagedError, RunWarning, first_line, first_of, warn
from .checkpoints import Checkpoints
from .logs import as_text, by_file
from .pytrees import PyTree, Snapshot
from .run import Run


class Background:
    """Runs jobs in a thread. A failure becomes a `RunWarning` and an entry of `failures`, and is never raised.

    A thread lives only as long as its job, so that a program that ends waits for no longer than that. Call `wait`
    before the end, because Python shuts down executors, which the threads need, once the main thread is done.
    """

    def __init__(self, status: Callable[[], str]):
        self.failures: list[str] = []
        """The failures, in order."""
        self._status = status
        self._thread: threading.Thread | None = None

    def start(self, what: str, job: Callable[[], None]) -> None:
        """Run `job` in the thread once the previous one has ended; `what` starts the sentence about a failure."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(what, job), name="deflow-save")
        self._thread.start()

    @contextlib.contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """A context whose errors are also recorded: no memory, no threads, a state that cannot be saved."""
        try:
            yield
        except Exception as error:
            self.fail(f"{what}: {first_line(error)}")

    def fail(self, reason: str) -> None:
        """Warn about a failure and record it."""
        sentence = f"{reason.rstrip('.')}; training continues, and {self._status()}."
        self.failures.append(sentence)
        with contextlib.suppress(RunWarning):  # with `python -W error` it would end what it reports on
            warn(sentence, RunWarning)

    def wait(self) -> None:
        """Wait until nothing runs."""
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()

    def _run(self, what: str, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # no one else sees a thread's exceptions
            self.fail(f"{what}: {type(error).__name__}: {first_line(error)}")


@dataclasses.dataclass(frozen=True)
class Cost:
    """The cost of one save to the training."""

    step: int
    """The step that was saved."""

    bytes: int
    """The size of all arrays."""

    blocked: float
    """Seconds until training could continue: the previous save had to end, and the arrays had to be copied."""


class Saver:
    """Saves to several folders at once, in a thread, and keeps the last `keep` steps that all of them have.

    Failures are not raised: they become a `RunWarning` and an entry of `failures`, and the next save tries again.
    """

    def __init__(self, folders: Sequence[Checkpoints], *, keep: int = 3):
        if keep < 1:
            raise ValueError(f"keep must be at least 1, got {keep}.")
        self.folders = tuple(folders)
        self.keep = keep
        self.costs: list[Cost] = []
        """One entry per save."""
        self._in_use = list(self.folders)
        self._background = Background(self._last_sound)

    @property
    def failures(self) -> list[str]:
        """What could not be saved or removed, one sentence each, even if a later attempt succeeded."""
        return self._background.failures

    def save(self, step: int, states: Sequence[PyTree | None], notes: Sequence[Mapping[str, Any]]) -> None:
        """Copy the states, one per folder, and return; the copies are written in the background. `None` is skipped."""
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
        """Wait until what was passed to `save` is written or has failed."""
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
                return f"the last intact checkpoint is that of step {step}"
        return "there is no intact checkpoint yet"


class Best:
    """Keeps the checkpoint with the highest score in each folder, written in a thread. Failures are as `Saver`'s."""

    def __init__(self, folders: Sequence[Checkpoints]):
        self.folders = tuple(folders)
        self.scores = [_best_score(folder) for folder in self.folders]
        """The score of each folder's checkpoint; minus infinity if there is none."""
        self._background = Background(lambda: "the previous best is kept")

    @property
    def failures(self) -> list[str]:
        """What could not be saved, one sentence each."""
        return self._background.failures

    def save(
        self, step: int, scores: Sequence[float], states: Sequence[PyTree | None], notes: Sequence[Mapping[str, Any]]
    ) -> None:
        """Save the states whose score is strictly higher than the one there, with the score in their notes.

        `None` is skipped. The previous one is removed when the new one is complete.
        """
        what = f"Cannot save the best of step {step}"
        self.wait()  # now the scores are those of what is there
        every = zip(range(len(self.folders)), scores, states, notes, strict=True)
        better = [each for each in every if each[2] is not None and each[1] > self.scores[each[0]]]
        with self._background.guard(what):
            snapshots = {
                index: Snapshot.of(state, {**said, "score": float(score)}).copy()
                for index, score, state, said in better
            }
            self._background.start(what, lambda: self._write(step, snapshots))

    def wait(self) -> None:
        """Wait until what was passed to `save` is written or has failed."""
        self._background.wait()

    def _write(self, step: int, snapshots: Mapping[int, Snapshot]) -> None:
        errors: list[Exception] = []
        for index, snapshot in snapshots.items():
            folder = self.folders[index]
            try:
                folder.write(step, snapshot)
                self.scores[index] = snapshot.notes["score"]
                for other in folder.steps():
                    if other != step:
                        folder.remove(other)
            except (CheckpointError, OSError) as error:
                errors.append(error)
        if errors:
            self._background.fail(first_of(errors))


def _best_score(folder: Checkpoints) -> float:
    scores = [float("-inf")]
    for step in folder.steps():
        try:
            scores.append(folder.notes(step).get("score", scores[0]))
        except DamagedError as error:
            where = folder.directory / str(step)
            warn(f"{where} is damaged ({error}); the next evaluation replaces it.", RunWarning)
    return max(scores)


class PendingRows:
    """Rows for a run's logs, which wait in memory until they are written, in order."""

    def __init__(self, run: Run):
        self.run = run
        self.waiting: list[tuple[int, dict[str, Any]]] = []
        """Steps and rows, each of one file, that are not on disk yet."""

    def add(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Add a row to be written.

        Raises:
            RunError: If a metric is not a single number, because it could never be written.
        """
        for name, value in metrics.items():
            as_text(name, value)
        self.waiting += [(step, row) for row in by_file(metrics).values()]

    def write(self) -> str | None:
        """Write the waiting rows. Returns the error if that fails."""
        try:
            while self.waiting:
                self.run.log(*self.waiting[0])
                del self.waiting[0]
        except Exception as error:  # also a file that is no longer CSV
            return first_line(error)
        return None

    def drop_after(self, step: int) -> None:
        """Remove the rows after `step`, on disk and here.

        Raises:
            RunError: If the file cannot be read or written.
        """
        self.run.rewind(step)
        self.waiting = [(at, row) for at, row in self.waiting if at <= step]
