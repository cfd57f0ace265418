"""CSV logs of one run: the file, and means since the last row."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from jaxtyping import ArrayLike

from ..errors import RunError
from .atomic_files import write_text

DAMAGE = (OSError, ValueError, KeyError, OverflowError, csv.Error)
"""What reading raises for a file that is damaged."""

_EVALUATION = ("evaluation/", "estimate/")


class Row(NamedTuple):
    """A row of one of the files, as it reads back."""

    file: str
    """`train` or `eval`."""

    step: int
    """Its step."""

    metrics: dict[str, float]
    """Its numbers by name, without blanks."""

    @classmethod
    def of(cls, step: int, metrics: Mapping[str, Any]) -> list[Self]:
        """The rows that these metrics make in the files."""
        return [
            cls(file, step, {name: float(as_text(name, value)) for name, value in row.items()})
            for file, row in by_file(metrics).items()
        ]


def by_file(metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Splits metrics into the rows of their files, `train` and `eval`; a file without metrics is left out.

    Raises:
        RunError: If a name is not a text, or that of the column with the step.
    """
    for name in metrics:
        if not isinstance(name, str) or name == "step":
            raise RunError(f"A metric's name must be a text other than 'step', got {name!r}.")
    evaluation = {name: value for name, value in metrics.items() if name.startswith(_EVALUATION)}
    training = {name: value for name, value in metrics.items() if name not in evaluation}
    return {split: row for split, row in (("train", training), ("eval", evaluation)) if row}


class MetricLog:
    """Rows of numbers in a CSV file. The file is not kept open, so that logged rows survive a crash."""

    def __init__(self, path: Path):
        self.path = path
        self._columns: list[str] = []

    def append(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Add a row. New names become new columns, which are blank in earlier rows.

        Raises:
            RunError: If a metric is not a single number, or the file cannot be written.
        """
        row = {"step": str(int(step))} | {name: as_text(name, value) for name, value in metrics.items()}
        try:
            if not self._columns or not self.path.exists():
                self._columns = self._repair()
            if row.keys() <= set(self._columns):
                with open(self.path, "a", encoding="utf-8", newline="") as file:
                    file.write(_csv([[row.get(name, "") for name in self._columns]]))
            else:
                columns = list(dict.fromkeys([*self._columns, *row]))
                self._rewrite(columns, [*self._rows(), row])
                self._columns = columns
        except OSError as error:
            self._columns = []  # the last line may be half written: look again before the next
            reason = error.strerror or error
            raise RunError(f"Cannot write {self.path}: {reason}; free some space or restore the directory.") from error

    def read(self) -> dict[str, np.ndarray]:
        """Columns by name, each of shape (rows,): `step` as int64, the others as float64 with NaN for blanks.

        Raises:
            RunError: If the file cannot be read or a cell is not a number.
        """
        try:
            lines, rows = self._lines(), self._rows()
            names = lines[0] if lines else ["step"]
            table = {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
            return table | {"step": np.array([int(row["step"]) for row in rows], np.int64)}
        except DAMAGE as error:
            raise RunError(f"{self.path} cannot be read ({error}); remove or repair the damaged lines.") from error

    def rows(self) -> list[Row]:
        """The rows, in order, without their blanks.

        Raises:
            RunError: If the file cannot be read or a cell is not a number.
        """
        try:
            return [
                Row(self.path.stem, int(row["step"]), {n: float(v) for n, v in row.items() if v and n != "step"})
                for row in self._rows()
            ]
        except DAMAGE as error:
            raise RunError(f"{self.path} cannot be read ({error}); remove or repair the damaged lines.") from error

    def drop_after(self, step: int) -> None:
        """Remove the rows after `step`, which a run that continues from there will write again."""
        steps = self.read()["step"]
        if (steps > step).any():
            rows = [row for row, at in zip(self._rows(), steps, strict=True) if at <= step]
            self._rewrite(self._lines()[0], rows)

    def _lines(self) -> list[list[str]]:
        """The file's complete lines, without an unfinished last one that a killed process left."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8-sig")  # an editor may have put a mark before it
        return list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))

    def _rows(self) -> list[dict[str, str]]:
        lines = self._lines()
        return [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]

    def _repair(self) -> list[str]:
        """Remove an unfinished last line, and return the columns."""
        lines = self._lines()
        if self.path.exists() and not self.path.read_bytes().endswith(b"\n"):
            write_text(self.path, _csv(lines))
        return lines[0] if lines else []

    def _rewrite(self, columns: list[str], rows: Iterable[Mapping[str, str]]) -> None:
        write_text(self.path, _csv([columns, *([row.get(name, "") for name in columns] for row in rows)]))


def _csv(lines: Iterable[Iterable[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()


def as_text(name: str, value: Any) -> str:
    """A number as the shortest text that reads back the same, or `nan` or `inf`.

    Raises:
        RunError: If it is not a single number.
    """
    array = np.asarray(value)
    try:
        if array.ndim:
            raise TypeError
        number = float(array)
    except (TypeError, ValueError):
        got = f"an array of shape {array.shape}" if array.ndim else repr(value)
        raise RunError(f"The metric {name!r} must be a single number, got {got}; reduce it before logging.") from None
    if array.dtype.kind in "iub":
        return str(int(array))
    return str(array[()]) if array.dtype == np.float32 else repr(number)


class Window:
    """Sums of metrics for each of `seeds` seeds, in float64 and in the order in which they were added.

    A window that is saved with `to_json` and loaded again produces the same rows as one that never was.
    """

    def __init__(self, seeds: int = 1, totals: Sequence[str] = ()):
        self.seeds = seeds
        self.totals = tuple(totals)
        """Metrics of which rows have the sum instead of the mean."""
        self._sums: dict[str, np.ndarray] = {}
        self._counts: dict[str, np.ndarray] = {}

    def add(self, metrics: Mapping[str, ArrayLike], *, skip_nan: bool = False) -> None:
        """Add metrics, each of shape (seeds,), or () if it is the same for all.

        With `skip_nan`, NaN means that a seed has no value this time, and it is not counted.

        Raises:
            ValueError: If a metric has another shape.
        """
        for name, values in metrics.items():
            array = np.asarray(values).astype(np.float64)
            if array.shape not in ((), (self.seeds,)):
                raise ValueError(
                    f"The metric {name!r} must have shape () or ({self.seeds},), got {array.shape}; reduce it before."
                )
            counts = ~np.isnan(array) if skip_nan else np.ones(array.shape, bool)
            with np.errstate(all="ignore"):  # what is not finite shows in the row
                self._sums[name] = self._sums.get(name, np.zeros(self.seeds)) + np.where(counts, array, 0.0)
            self._counts[name] = self._counts.get(name, np.zeros(self.seeds, int)) + counts

    def rows(self) -> list[dict[str, float]]:
        """The means since the last call, one row per seed, without metrics that have no value. Empties the window."""
        sums, counts = self._sums, self._counts
        self._sums, self._counts = {}, {}
        divisors = {name: np.ones(self.seeds) if name in self.totals else counts[name] for name in sums}
        return [
            {name: float(sums[name][seed] / divisors[name][seed]) for name in sums if counts[name][seed]}
            for seed in range(self.seeds)
        ]

    def to_json(self) -> dict[str, Any]:
        """Its content as JSON values, with floats in hexadecimal, which is exact and covers `nan` and `inf`."""
        metrics = [
            {"name": name, "counts": self._counts[name].tolist(), "sums": [float(value).hex() for value in total]}
            for name, total in self._sums.items()
        ]
        return {"seeds": self.seeds, "totals": list(self.totals), "metrics": metrics}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The window that `to_json` described."""
        window = cls(content["seeds"], content["totals"])
        for metric in content["metrics"]:
            window._counts[metric["name"]] = np.array(metric["counts"])
            window._sums[metric["name"]] = np.array([float.fromhex(value) for value in metric["sums"]])
        return window
