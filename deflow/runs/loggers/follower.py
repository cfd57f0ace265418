"""A follower passes a run's rows to one logger, in a thread, so that nothing a logger does holds up the training."""

import contextlib
import math
import queue
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from ...errors import RunWarning, first_line, warn
from ..logs import Row
from .base import AbstractLogger, LoggedRun
from .journal import Journal, Mark, Plan

PATIENCE = 30.0
"""Seconds that loggers have at the end, before they are left behind."""

UNFLUSHED = 100
"""Rows after which a logger is flushed, though there are more."""


class Follower:
    """One logger of one run."""

    def __init__(self, name: str, logger: AbstractLogger, run: LoggedRun, rows: Callable[[], list[Row]]):
        """`rows` gives the rows that the CSV files have now."""
        self._name, self._logger, self._run, self._rows = name, logger, run, rows
        self._journal = Journal(run.path / "loggers" / f"{name}.txt")
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._unsettled = True  # something may be left to do at the end
        self._behind = True  # what the logger has is to be compared with all rows that there are
        self._failed = False
        # The thread's own:
        self._opened, self._after = False, -1
        self._ahead: dict[str, list[Mark]] = {}
        self._unmarked: list[tuple[float, Row]] = []
        self._unflushed = 0
        self._waits = False
        self._refused = False

    # --- called by the training

    def follow(self, rows: Sequence[Row]) -> None:
        """These rows were written to the CSV files."""
        self._unsettled = True
        if self._behind:
            self._catch_up()
        else:
            self._put(lambda: self._compare(rows))

    def rewind(self) -> None:
        """Rows may have been removed from the CSV files."""
        self._unsettled = self._behind = True

    def show(self, kind: Literal["picture", "video"], name: str, path: Path, step: int) -> None:
        """There is a file to be shown."""
        self._unsettled = True
        if self._behind:
            self._catch_up()
        self._put(lambda: self._show(kind, name, path, step))

    def end(self) -> None:
        """Pass on what is left and close the logger, without waiting for it: `wait` does."""
        if not self._unsettled or self._failed:
            return
        if self._behind:
            self._catch_up()
        self._unsettled = False
        if self._thread is not None:
            self._put(None)

    def wait(self, deadline: float) -> None:
        """Wait until the logger is closed, or leave it behind at `deadline`, a time of `time.monotonic`."""
        while (thread := self._thread) is not None and not self._failed:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                self._fail("has not ended in time")
                return
            self._thread = None
            self._unsettled = self._behind  # it found only now that it has other rows
            self.end()
        self._behind = True  # a row that comes later opens it again

    def _catch_up(self) -> None:
        try:
            rows = self._rows()
        except Exception:  # the files cannot be read, as whoever continues the run is told
            return
        if rows:
            self._behind = False
            self._put(lambda: self._bring(rows))

    def _put(self, job: Callable[[], None] | None) -> None:
        if self._failed:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"deflow-{self._name}", daemon=True)
            self._thread.start()
            _at_the_end(self)
        self._jobs.put(job)

    # --- in the thread

    def _work(self) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                job()
                if self._jobs.empty() or self._unflushed >= UNFLUSHED:
                    self._settle()
            self._end()
        except BaseException as error:  # no one else sees a thread's exceptions
            with contextlib.suppress(BaseException):  # it has what it took before
                self._settle()
            self._fail(f"failed ({type(error).__name__}: {first_line(error).rstrip('.')})")

    def _bring(self, rows: list[Row]) -> None:
        """Bring the logger to these rows, which are all that there are."""
        self._settle(all_of_them=True)
        there = self._logger.holds(self._run)
        held = self._journal.read() if there else []
        plan = Plan.of(held, rows, forgets=self._logger.forgets, opened=self._opened and there)
        if plan.anew:
            self._end()
            self._journal.rewrite(plan.kept)
            self._after = plan.after
        self._ahead, self._waits = plan.ahead, False
        for row in plan.missing:
            self._pass(row)

    def _compare(self, rows: Sequence[Row]) -> None:
        """Pass on rows that the logger does not have. If it has others, all rows are looked at again."""
        for row in rows:
            ahead = self._ahead.get(row.file, [])
            if self._waits:
                return
            if not ahead:
                self._pass(row)
            elif ahead[0] == Mark.of(row):
                del ahead[0]
            else:
                self._waits = self._behind = True

    def _pass(self, row: Row) -> None:
        self._open()
        self._logger.row(row.step, row.metrics)
        self._unmarked.append((time.monotonic(), row))
        self._unflushed += 1

    def _show(self, kind: Literal["picture", "video"], name: str, path: Path, step: int) -> None:
        self._open()
        try:
            (self._logger.picture if kind == "picture" else self._logger.video)(name, path, step)
        except Exception as error:
            if not self._refused:
                self._tell(f"cannot show {path.name} ({type(error).__name__}: {first_line(error).rstrip('.')})")
            self._refused = True

    def _open(self) -> None:
        if not self._opened:
            self._logger.open(self._run, self._after)
            self._opened = True

    def _settle(self, *, all_of_them: bool = False) -> None:
        """Mark what was passed on, once it survives a crash."""
        if self._unflushed:
            self._logger.flush()
            self._unflushed = 0
        sure = math.inf if all_of_them else time.monotonic() - self._logger.settles
        settled = [row for at, row in self._unmarked if at <= sure]
        if settled:
            self._journal.append(settled)
            self._unmarked = self._unmarked[len(settled) :]

    def _end(self) -> None:
        if self._opened:
            self._opened = False
            self._settle()
            self._logger.close()
            self._settle(all_of_them=True)

    def _fail(self, how: str) -> None:
        if not self._failed:
            self._failed = True
            self._tell(f"{how}: the run goes on without it, and has every row in its CSV files")

    def _tell(self, what: str) -> None:
        with contextlib.suppress(RunWarning):  # with `python -W error` it would end what it reports on
            warn(f"The logger {self._name} of {self._run.path} {what}.", RunWarning)


def end_all(followers: Sequence[Follower], patience: float | None = None) -> None:
    """Close loggers, all at once, within so many seconds (as a rule, `PATIENCE`)."""
    for follower in followers:
        follower.end()
    deadline = time.monotonic() + (PATIENCE if patience is None else patience)
    for follower in followers:
        follower.wait(deadline)


def _at_the_end(follower: Follower) -> None:
    """Have a logger closed when the main thread is done, if nobody has closed it before."""
    global _waits_for_the_end
    _started.add(follower)
    if not _waits_for_the_end:
        _waits_for_the_end = True
        # Python waits for it, and calls what packages have registered with `atexit` only then.
        threading.Thread(target=_end_started, name="deflow-loggers").start()


def _end_started() -> None:
    threading.main_thread().join()
    end_all(list(_started))


_started: weakref.WeakSet[Follower] = weakref.WeakSet()
_waits_for_the_end = False
