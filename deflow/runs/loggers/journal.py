"""What a logger has got so far: a line per row, in the run's directory, and what is still to be done."""

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from ..atomic_files import write_text
from ..logs import Row


class Mark(NamedTuple):
    """A row, in short."""

    file: str
    """`train` or `eval`."""

    step: int
    """Its step."""

    digest: str
    """Of its metrics."""

    @classmethod
    def of(cls, row: Row) -> Self:
        """The mark of a row."""
        text = repr(sorted(row.metrics.items())).encode()
        return cls(row.file, row.step, hashlib.blake2b(text, digest_size=8).hexdigest())


class Journal:
    """The rows that a logger has got, in order."""

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> list[Mark]:
        """All marks; none of a file that cannot be understood. A last line that a killed process left unfinished does
        not count."""
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8", errors="replace")
        lines = [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]
        try:
            return [Mark(file, int(step), digest) for file, step, digest in lines]
        except ValueError:
            return []

    def append(self, rows: Iterable[Row]) -> None:
        """Add rows."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(_text(map(Mark.of, rows)))

    def rewrite(self, marks: Iterable[Mark]) -> None:
        """Have these alone."""
        self.path.parent.mkdir(exist_ok=True)
        write_text(self.path, _text(marks))


class Plan(NamedTuple):
    """How a logger comes to have exactly the rows that there are now."""

    kept: list[Mark]
    """What it keeps."""

    missing: list[Row]
    """What it is to be given."""

    ahead: dict[str, list[Mark]]
    """Rows that it has and that do not exist, by file: those that a resumed training will make again."""

    anew: bool
    """Whether it has to be opened, at `after`."""

    @property
    def after(self) -> int:
        """The last step that it keeps; -1 if it keeps nothing."""
        return max((mark.step for mark in self.kept), default=-1)

    @classmethod
    def of(cls, held: Sequence[Mark], rows: Sequence[Row], *, forgets: bool, opened: bool) -> Self:
        """The plan for a logger that holds rows, of those that there are now."""
        marks = [Mark.of(row) for row in rows]
        had, ahead = dict[str, int](), dict[str, list[Mark]]()
        for file in {mark.file for mark in (*held, *marks)}:
            ours, theirs = ([mark for mark in each if mark.file == file] for each in (held, marks))
            had[file] = _common(ours, theirs)
            ahead[file] = ours[had[file] :]
            if ahead[file] and len(theirs) > had[file] and not forgets:  # another row is there than was logged
                return cls([], list(rows), {}, True)
        missing, last = _without(rows, had), max((mark.step for mark in held), default=-1)
        first = min((each[0].step for each in ahead.values() if each), default=None)
        if first is None and not opened and any(row.step <= last for row in missing):
            first = last  # killed between a row and its mark, it may have more of this step than is known
        if forgets and first is not None:
            kept = [mark for mark in held if mark.step < first]
            had = {file: sum(mark.file == file for mark in kept) for file in had}
            return cls(kept, _without(rows, had), {}, True)
        return cls(list(held), missing, ahead, not opened)


def _common(ours: Sequence[Mark], theirs: Sequence[Mark]) -> int:
    """How many rows are the same, from the first on."""
    pairs = zip(ours, theirs, strict=False)
    return next((number for number, (one, other) in enumerate(pairs) if one != other), min(len(ours), len(theirs)))


def _without(rows: Sequence[Row], had: dict[str, int]) -> list[Row]:
    """The rows but for the first `had` of each file."""
    numbers = {file: itertools.count() for file in had}
    return [row for row in rows if next(numbers[row.file]) >= had[row.file]]


def _text(marks: Iterable[Mark]) -> str:
    return "".join(f"{mark.file} {mark.step} {mark.digest}\n" for mark in marks)
