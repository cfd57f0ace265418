"""One CSV file of metrics: a row per call, a first column `step`, and columns that may appear late."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from deflow.runs.errors import RunError
from deflow.runs.files import write_text


class MetricLog:
    """Rows of numbers in a CSV file. It holds no open file: what was logged is there when the process dies."""

    def __init__(self, path: Path):
        self.path = path
        self._columns: list[str] = []

    def append(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Add a row. Names not seen before become new columns, blank in the rows above.

        Raises `RunError` for a metric that is not one number, or where the file cannot be written.
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
            raise RunError(f"Cannot write {self.path}: {reason}; free space or restore the directory.") from error

    def read(self) -> dict[str, np.ndarray]:
        """Columns by name, each of shape (rows,): `step` as int64, the others as float64 with NaN for blanks.

        Raises `RunError` where the file cannot be read or a cell is no number.
        """
        try:
            lines, rows = self._lines(), self._rows()
            names = lines[0] if lines else ["step"]
            table = {name: np.array([float(row[name] or "nan") for row in rows]) for name in names}
            return table | {"step": np.array([int(row["step"]) for row in rows], np.int64)}
        except (OSError, ValueError, KeyError) as error:
            raise RunError(
                f"{self.path} cannot be read ({error}); remove or mend the lines that are damaged."
            ) from error

    def drop_after(self, step: int) -> None:
        """Forget the rows beyond `step`: those that a run which goes on from there writes again."""
        steps = self.read()["step"]
        if (steps > step).any():
            rows = [row for row, at in zip(self._rows(), steps, strict=True) if at <= step]
            self._rewrite(self._lines()[0], rows)

    def _lines(self) -> list[list[str]]:
        """The file's finished lines; one that a killed process left without its end does not count."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        return list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1], newline="")))

    def _rows(self) -> list[dict[str, str]]:
        lines = self._lines()
        return [dict(zip(lines[0], line, strict=False)) for line in lines[1:]]

    def _repair(self) -> list[str]:
        """Cut off an unfinished last line, and give the columns there are."""
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
    """A number as the shortest text that reads back the same; `nan` and `inf` as such.

    Raises `RunError` for what is not one number.
    """
    array = np.asarray(value)
    try:
        if array.ndim:
            raise TypeError
        number = float(array)
    except (TypeError, ValueError):
        got = f"an array of shape {array.shape}" if array.ndim else repr(value)
        raise RunError(f"The metric {name!r} must be one number, got {got}; reduce it before logging.") from None
    if array.dtype.kind in "iub":
        return str(int(array))
    return str(array[()]) if array.dtype == np.float32 else repr(number)
