"""The logs of one run in training: rows that cannot be written wait, and no more happens."""

from collections.abc import Mapping
from typing import Any

from deflow.runs.errors import first_line
from deflow.runs.metric_log import as_text
from deflow.runs.run import Run, by_file


class PatientLog:
    """Rows for a run's logs, kept in memory until they are written, in order."""

    def __init__(self, run: Run):
        self.run = run
        self.waiting: list[tuple[int, dict[str, Any]]] = []
        """Steps and rows, each of one file, that are not on disk."""

    def add(self, step: int, metrics: Mapping[str, Any]) -> None:
        """A row that is to be written. Raises `RunError` for a metric that is not one number: it never could be."""
        for name, value in metrics.items():
            as_text(name, value)
        self.waiting += [(step, row) for row in by_file(metrics).values()]

    def write(self) -> str | None:
        """Write what waits; where that fails, what is wrong."""
        try:
            while self.waiting:
                self.run.log(*self.waiting[0])
                del self.waiting[0]
        except Exception as error:  # also a file that is no longer CSV
            return first_line(error)
        return None

    def drop_after(self, step: int) -> None:
        """Forget the rows beyond `step`, on disk and here. Raises `RunError`."""
        self.run.rewind(step)
        self.waiting = [(at, row) for at, row in self.waiting if at <= step]
