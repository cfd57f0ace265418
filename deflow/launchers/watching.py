"""Looking at sweeps from outside, while they are carried out or later."""

import dataclasses
from pathlib import Path

from ..errors import SweepError
from ..runs import Look
from .record import Record
from .sweep import Sweep


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of a sweep's list."""

    folder: Path
    """The sweep's folder."""

    name: str
    """The name of the line, and of its folder there."""

    record: Record
    """What has become of it."""

    at_work: bool
    """Whether a process carries the sweep out."""

    @property
    def pending(self) -> bool:
        """Whether something else than a sweep at work has it: a queue, or a process that outlived its sweep."""
        return self.record.state == "submitted" or self.record.alive() is not None

    @property
    def left(self) -> bool:
        """Whether somebody must go on with the sweep for it."""
        return not (self.at_work or self.pending or self.record.state in ("finished", "stopped early"))

    def __str__(self) -> str:
        """What has become of it, while it has no runs."""
        state, again = self.record.state, ", and the sweep goes on with it" if self.at_work else ""
        if state == "running":
            return "starting" if self.pending else f"interrupted{again}"
        words = {"to do": "not begun", "submitted": "in the queue", "interrupted": f"interrupted{again}"}
        return self.failure or words.get(state, state)

    @property
    def failure(self) -> str:
        """That it failed, and why."""
        state, said = self.record.state, self.record.said
        return ": ".join(filter(None, (state, said))) if state in ("failed", "killed") else ""


class Sweeps:
    """The sweeps that were met, each read once."""

    def __init__(self):
        self._known: dict[Path, list[Line]] = {}
        self.troubles: list[str] = []
        """Of those that cannot be read, and of those without lines."""

    def lines_in(self, folder: Path) -> list[Line]:
        """The lines of the sweep in a folder; none if there is no sweep."""
        folder = folder.resolve()
        if folder not in self._known:
            self._known[folder] = []
            try:
                sweep = Sweep.open(folder)
            except SweepError as error:
                self.troubles.append(str(error))
                return []
            if sweep.list_file.exists() and not sweep.jobs:
                self.troubles.append(f"{sweep.list_file} has no lines.")
            at_work = bool(sweep.jobs) and sweep.at_work
            self._known[folder] = [Line(folder, job.name, _record(sweep, job.name), at_work) for job in sweep.jobs]
        return self._known[folder]

    def line_of(self, each: Look) -> Line | None:
        """The line of a sweep that has made a run."""
        if len(each.path.parents) < 4:
            return None
        job = each.path.parents[2]
        return next((line for line in self.lines_in(job.parent) if line.name == job.name), None)


def _record(sweep: Sweep, name: str) -> Record:
    """What has become of a line, also if its file is damaged."""
    try:
        return sweep.record(name)
    except SweepError as error:
        return Record("failed", said=str(error))
