"""Runs that are trained together: one directory per seed, and a common step from which all of them continue."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import filelock
import numpy as np

from ..errors import RunError, RunWarning, first_of, warn
from ..progress import working
from .amending import amend
from .checkpoints import Like, Restored, restore_together
from .locking import PATIENCE
from .loggers import check_loggers
from .loggers.follower import end_all
from .pytrees import PyTree
from .run import Run, create_together
from .saving import Best, PendingRows, Saver
from .scores import scores_of
from .stopped import STOPPED_FILE, Stopped


class RunGroup:
    """The runs of seeds that are trained together; make one with `RunGroup.create` or `RunGroup.open`.

    A full disk or a lost directory does not end the training: what `log`, `save`, `save_best` and `stop` cannot write
    becomes a `RunWarning`, and `failures` lists it at the end.

        with RunGroup.open(path) as group:  # locked; everything is written at the end
            restored = group.restore(like)
    """

    def __init__(self, runs: Sequence[Run], *, keep: int = 3, loggers: Sequence[str] = ()):
        """The last `keep` checkpoints are kept, and `loggers` get the rows: see `Run.follow`."""
        self.runs = tuple(run.follow(loggers) if loggers else run for run in runs)
        """One run per seed."""
        self.stopped: dict[int, Stopped] = {
            index: record for index, run in enumerate(self.runs) if (record := Stopped.read(run.path))
        }
        """The runs that stopped, by their index in `runs`. Nothing more is logged or saved for them."""
        self.saver = Saver([run.checkpoints for run in self.runs], keep=keep)
        """Writes the checkpoints and records what they cost."""
        self._best: Best | None = None
        self._logs = [PendingRows(run) for run in self.runs]
        self._lost: list[str] = []
        self._lock = filelock.FileLock(self.runs[0].path / ".lock")

    @classmethod
    def create(
        cls,
        output_dir: str | os.PathLike[str],
        *,
        environment: str,
        algorithm: str,
        seeds: Sequence[int],
        config: Mapping[str, Any],
        keep: int = 3,
        loggers: Sequence[str] = (),
    ) -> "RunGroup":
        """A new run per seed: see `Run.create`.

        Raises:
            RunError: If a directory cannot be made or written.
        """
        check_loggers(loggers)  # before anything is made
        described = create_together(
            output_dir, environment=environment, algorithm=algorithm, seeds=seeds, config=config
        )
        return cls(described, keep=keep, loggers=loggers)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, keep: int = 3, loggers: Sequence[str] = ()) -> "RunGroup":
        """The run in a directory and all runs that are trained with it.

        Raises:
            RunError: If one of them is missing or cannot be read.
        """
        run = Run.open(path)
        if len(run.together) == 1:
            return cls([run], keep=keep, loggers=loggers)
        siblings = [run.path.parent / Path(name).name for name in run.together]
        missing = [str(sibling) for sibling in siblings if not sibling.is_dir()]
        if missing:
            raise RunError(
                f"{run.path} was trained together with {', '.join(missing)}, which is missing; restore it from a copy."
            )
        return cls([Run.open(sibling) for sibling in siblings], keep=keep, loggers=loggers)

    def lock(self) -> None:
        """Keep other processes from training these runs until `unlock` or `close`, or until this process ends.

        Raises:
            RunError: If another process is training them, or the lock cannot be written.
        """
        path = self.runs[0].path
        try:
            (path / "config.json").stat()  # filelock would make a directory that is gone
            self._lock.acquire(timeout=PATIENCE, poll_interval=0.05)
        except filelock.Timeout:
            raise RunError(f"{path} is being trained by another process; wait until it ends, or end it.") from None
        except OSError as error:
            raise RunError(f"Cannot lock {path}: {error.strerror or error}; restore the directory.") from error

    def amend(self, options: Mapping[str, Any]) -> None:
        """Let these options of the runs' recipe hold from now on, in all of them: see `amending.amend`. They are
        locked then: nobody else can amend them before they are trained. The first run is written first.

        Raises:
            RunError: If another process is training them, or they cannot be read or written.
        """
        self.lock()
        for run in self.runs:
            amend(run, options)

    def unlock(self) -> None:
        """Let other processes train these runs."""
        self._lock.release(force=True)  # however often `lock` was called

    def restore(self, like: Like) -> Restored | None:
        """States, notes and step of the newest step with an intact checkpoint in every run.

        Returns `None` if the runs ended before the first checkpoint was complete: they start again. `like` is as in
        `Checkpoints.restore`. A run that stopped at that step or earlier is not required: its state and notes are those
        of an earlier intact checkpoint of its own, or else those of another run. A run that stopped later counts as
        running again.

        There is a `RunWarning` for each damaged checkpoint that is newer.

        Raises:
            CheckpointError: If no step is left, or the checkpoints are of another state.
            RunError: If a run cannot be read.
        """
        self.wait()
        folders = [run.checkpoints for run in self.runs]
        restored = restore_together(folders, {index: record.step for index, record in self.stopped.items()}, like)
        self._continue_from(restored[2] if restored else -1)
        return restored

    def rewind(self, step: int) -> None:
        """Remove what was logged after `step`, before training continues from there.

        Raises:
            RunError: If a log cannot be read or written.
        """
        for log in self._logs:
            log.drop_after(step)

    def log(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log a row for each run: see `Run.log`. Rows that cannot be written wait in memory and are written later.

        Raises:
            RunError: If a metric is not a single number.
        """
        for index, (log, row) in enumerate(zip(self._logs, rows, strict=True)):
            if index not in self.stopped:
                log.add(step, row)
        errors = [error for log in self._logs if (error := log.write())]
        if errors:
            waiting = sum(len(log.waiting) for log in self._logs)
            warn(f"{first_of(errors)}; training continues, and {waiting} rows wait in memory.", RunWarning)

    def log_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log rows of an evaluation, but for the runs that have theirs: training was killed just after logging it."""
        there = [step in run.read("eval")["step"] for run in self.runs]
        self.log(step, [{} if known else row for known, row in zip(there, rows, strict=True)])

    def evaluated(self) -> set[int]:
        """The steps of which every run that goes on has a row in eval.csv."""
        going = [run for index, run in enumerate(self.runs) if index not in self.stopped]
        steps = [{int(step) for step in run.read("eval")["step"]} for run in going]
        return steps[0].intersection(*steps) if steps else set()

    def has_best(self, step: int) -> bool:
        """Whether the best of every run that goes on is at least as good as its evaluation of `step`: if not, training
        was killed while the best was written."""
        self._best = self._best or Best([run.best for run in self.runs])
        for index, run in enumerate(self.runs):
            if index in self.stopped:
                continue
            rows = run.read("eval")
            row = int(np.flatnonzero(rows["step"] == step)[-1])
            _, (score,) = scores_of([{name: column[row] for name, column in rows.items()}])
            if score > self._best.scores[index]:
                return False
        return True

    def save(self, step: int, states: Sequence[PyTree], notes: Sequence[Mapping[str, Any]]) -> None:
        """Save a checkpoint of each run while training continues: see `Saver.save`."""
        self._record_stops()
        self.saver.save(step, self._going(states), notes)

    def has_saved(self, step: int) -> bool:
        """Whether every run that goes on has an intact checkpoint of this step. Waits for what is being written."""
        self.wait()
        going = [run for index, run in enumerate(self.runs) if index not in self.stopped]
        return all(run.checkpoints.is_sound(step) for run in going)

    def save_best(
        self, step: int, scores: Sequence[float], states: Sequence[PyTree], notes: Sequence[Mapping[str, Any]]
    ) -> None:
        """Save those whose score is higher than before as the best: see `Best.save`."""
        self._best = self._best or Best([run.best for run in self.runs])
        self._best.save(step, scores, self._going(states), notes)

    def stop(self, index: int, step: int, reason: str) -> None:
        """Record that `runs[index]` stops at `step`, while the others continue."""
        self.saver.wait()
        steps = self.runs[index].checkpoints.steps()
        self.stopped.setdefault(index, Stopped(step, reason, steps[-1] if steps else None))
        self._record_stops()

    @property
    def failures(self) -> list[str]:
        """What went wrong, one sentence each: saves that failed, rows that were lost, runs that stopped."""
        best = self._best.failures if self._best else []
        stops = [
            f"Seed {self.runs[index].seed} stopped at step {record.step}: {record.reason.rstrip('.')}."
            for index, record in sorted(self.stopped.items())
        ]
        return [*self.saver.failures, *best, *self._lost, *stops]

    def wait(self) -> None:
        """Wait until what was passed to `save` and `save_best` is written or has failed."""
        self.saver.wait()
        if self._best:
            self._best.wait()

    def close(self) -> None:
        """Wait, try once more to write waiting rows, report lost ones, close the loggers, and release the lock."""
        with working("writing"):
            self.wait()
        self._record_stops()
        for log in self._logs:
            if error := log.write():
                sentence = f"{len(log.waiting)} rows of {log.run.path} are lost: {first_of([error])}."
                log.waiting = []
                self._lost.append(sentence)
                warn(sentence, RunWarning)
        with working("closing the loggers"):
            end_all([follower for run in self.runs for follower in run.followers])
        self.unlock()

    def __enter__(self) -> Self:
        self.lock()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _going(self, states: Sequence[PyTree]) -> list[PyTree | None]:
        return [None if index in self.stopped else state for index, state in enumerate(states)]

    def _continue_from(self, step: int) -> None:
        """Let runs that stopped after `step` continue."""
        for index in [index for index, record in self.stopped.items() if record.step > step]:
            try:
                (self.runs[index].path / STOPPED_FILE).unlink(missing_ok=True)
            except OSError as error:
                raise RunError(f"Cannot remove {error.filename}: {error.strerror}; remove it by hand.") from error
            del self.stopped[index]

    def _record_stops(self) -> None:
        """Write the records of stopped runs that are not written yet."""
        for index, record in self.stopped.items():
            path = self.runs[index].path
            if not (path / STOPPED_FILE).exists():
                try:
                    record.write(path)
                except RunError as error:
                    warn(f"{first_of([error])}; training continues and tries again at the next save.", RunWarning)
