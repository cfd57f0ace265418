"""The CSV files of a run: train.csv and eval.csv."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from ..logs import MetricLog, Row, by_file
from .base import AbstractLogger, LoggedRun, register


@register("csv")
class Csv(AbstractLogger):
    """What every run keeps, whatever else is chosen: a resumed training reads them, and other loggers follow them."""

    forgets: ClassVar[bool] = True

    files: dict[str, MetricLog]
    """By name: `train` and `eval`."""

    @classmethod
    def of(cls, path: Path) -> Self:
        """The files in a run's directory, as they are."""
        logger = cls()
        logger.files = {name: MetricLog(path / f"{name}.csv") for name in ("train", "eval")}
        return logger

    def open(self, run: LoggedRun, after: int) -> None:
        self.files = self.of(run.path).files
        for log in self.files.values():
            log.drop_after(after)

    def row(self, step: int, metrics: Mapping[str, Any]) -> None:
        for name, row in by_file(metrics).items():
            self.files[name].append(step, row)

    def rows(self) -> list[Row]:
        """All rows, by their steps; those of train.csv before those of eval.csv.

        Raises:
            RunError: If a file cannot be read.
        """
        return sorted((row for log in self.files.values() for row in log.rows()), key=lambda row: row.step)
