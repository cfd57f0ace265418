"""A map over bounds: what agents that differ in their trust region's bound alone have learned, in a table and a CSV."""

import csv
import dataclasses
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.table import Table
from rich.text import Text

from ..errors import ReportError
from .comparison import RETURN, SUCCESS
from .finding import read_runs
from .reading import RunFiles, shared_behaviours
from .statistics import Estimate, mean
from .table import estimate_text, narrow_table

CAPTION = (
    "Brackets: 95% intervals over seeds (Student's). The value is the critic's, of the "
    "refined actions. Value, size and multiplier: the last row of train.csv."
)

CAPTION_BEST = (
    "The best is chosen by the episodes that it is measured with, so its number is "
    "optimistic: evaluate it again, on other episodes."
)

COLUMNS = ("bound", "seed", "step", "success", "return", "value", "size", "multiplier", "stopped", "run")
"""Columns of the CSV."""


@dataclasses.dataclass(frozen=True)
class BoundSeed:
    """One seed of a bound. Numbers are NaN until it has reached the last update."""

    files: RunFiles
    """Its run."""

    step: int
    """The step of its last row, or at which it stopped."""

    success: float
    """Success rate at the last update."""

    returns: float
    """Mean undiscounted return there."""

    value: float
    """Mean value of the refined actions in the last row of train.csv, by the critic."""

    size: float
    """Mean size of the displacements there, in the trust region's unit."""

    multiplier: float
    """The constraint's multiplier there."""

    stopped: str
    """Why it stopped early; empty if it did not."""


@dataclasses.dataclass(frozen=True)
class BoundLine:
    """All seeds of a bound."""

    bound: float
    """The bound, in the trust region's unit."""

    seeds: tuple[BoundSeed, ...]
    """By seed."""

    @property
    def measured(self) -> tuple[BoundSeed, ...]:
        """The seeds that have come to the end."""
        return tuple(seed for seed in self.seeds if not math.isnan(seed.returns))

    def mean(self, name: str) -> Estimate:
        """The mean of a number of `BoundSeed` over the seeds that have come to the end."""
        return mean([getattr(seed, name) for seed in self.measured])


@dataclasses.dataclass(frozen=True)
class BoundMap:
    """The bounds of one algorithm on one task."""

    steps: int
    """Updates of every run, after which it is measured."""

    lines: tuple[BoundLine, ...]
    """By bound, ascending."""

    published: float | None
    """The bound published for the task, in the trust region's unit, whether or not it was trained."""

    automatic: float | None
    """The data's own, likewise."""

    @property
    def files(self) -> list[RunFiles]:
        """The runs of all bounds."""
        return [seed.files for line in self.lines for seed in line.seeds]

    @property
    def by_return(self) -> bool:
        """Whether bounds are compared by the return, since no environment reports success."""
        return all(math.isnan(seed.success) for line in self.lines for seed in line.measured)

    @property
    def best(self) -> float | None:
        """The bound with the highest mean success (then return; then the smallest), of those of which every seed has
        come to the end; None if there is none, or if none ever succeeds."""
        whole = [line for line in self.lines if line.seeds and len(line.measured) == len(line.seeds)]

        def score(line: BoundLine) -> tuple[float, float, float]:
            success = line.mean("success").value
            return -math.inf if math.isnan(success) else success, line.mean("returns").value, -line.bound

        best = max(whole, key=score, default=None)
        return None if best is None or best.mean("success").value == 0 else best.bound

    def marks(self) -> dict[float, str]:
        """What is special about a bound, a word on each line: `{0.001: "published\\nbest"}`."""
        named = (("published", self.published), ("auto", self.automatic), ("best", self.best))
        found: dict[float, list[str]] = {}
        for name, bound in named:
            if bound is not None:
                found.setdefault(bound, []).append(name)
        return {bound: "\n".join(names) for bound, names in found.items()}

    def table(self) -> Table:
        """The table for the terminal, without the notes: `rich.print(bound_map.table())`."""
        first, marks = self.files[0], self.marks()
        table = narrow_table(
            f"{first.algorithm} on {first.environment}, {self.steps:,} updates, by the bound",
            "\n".join([CAPTION, *[CAPTION_BEST][: self.best is not None]]),
        )
        for heading in ("bound", "", "seeds", "success", "return", "value", "size", "multi-\nplier"):
            table.add_column(heading, justify="left" if heading == "" else "right", no_wrap=True)
        for line in self.lines:
            of = "" if len(line.measured) == len(line.seeds) else f"/{len(line.seeds)}"
            cells = (
                f"{line.bound:g}",
                marks.get(line.bound, ""),
                f"{len(line.measured)}{of}",
                estimate_text(line.mean("success"), ".2f", (0.0, 1.0)),
                *(_plain(line.mean(name).value) for name in ("returns", *_MEASURED)),
            )
            # As `Text`, since rich would read "[0.48, 0.74]" for a style.
            table.add_row(*map(Text, cells), style="bold" if line.bound == self.best else None)
        return table

    def notes(self) -> list[str]:
        """A sentence about each thing that readers should know: what stopped, what is unfinished, what is shared."""
        said = []
        for line in self.lines:
            for seed in line.seeds:
                if seed.stopped:
                    name = f"Bound {line.bound:g}, seed {seed.files.seed}"
                    said.append(f"{name} stopped at step {seed.step:,}: {seed.stopped.rstrip('.')}.")
            under_way = [seed.step for seed in line.seeds if math.isnan(seed.returns) and not seed.stopped]
            if under_way:
                said.append(f"Bound {line.bound:g} is at step {min(under_way):,} of {self.steps:,}.")
        if not any(line.measured for line in self.lines):
            return said
        # By name: of a grid that moved before bounds were added, the runs record several places.
        flows = {None if files.behaviour is None else Path(files.behaviour).name for files in self.files}
        if len(flows) == 1 and None not in flows and len(self.lines) > 1:
            said.append("All bounds share one flow, so their differences say nothing about how flows differ.")
        return [*said, *shared_behaviours(seed.files for line in self.lines[:1] for seed in line.seeds)]

    def csv(self, folder: str | os.PathLike[str]) -> str:
        """One line per bound and seed, blank where a number is unknown; runs are relative to `folder`."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for line in self.lines:
            for seed in line.seeds:
                numbers = (seed.success, seed.returns, seed.value, seed.size, seed.multiplier)
                cells = ["" if math.isnan(number) else repr(number) for number in numbers]
                run = Path(os.path.relpath(seed.files.path, folder)).as_posix()
                writer.writerow([repr(line.bound), seed.files.seed, seed.step, *cells, seed.stopped, run])
        return text.getvalue()


_MEASURED = ("value", "size", "multiplier")


def map_bounds(
    runs: Mapping[float, Sequence[str | os.PathLike[str]]],
    *,
    steps: int,
    published: float | None = None,
    automatic: float | None = None,
) -> BoundMap:
    """The directories of the runs of each bound, read and measured at update `steps`.

    Raises:
        ReportError: If there is no run, or a directory is not a run.
    """
    if not runs:
        raise ReportError("There is no bound to report on; give the runs of at least one.")
    lines = [
        BoundLine(float(bound), tuple(_seed(files, steps) for files in read_runs(paths)))
        for bound, paths in sorted(runs.items())
    ]
    return BoundMap(steps, tuple(lines), published, automatic)


def _seed(files: RunFiles, steps: int) -> BoundSeed:
    step, stopped = _stopped(files.path) or (files.steps, "")
    success, returns = (math.nan if stopped else _at(files.evaluation, name, steps) for name in (SUCCESS, RETURN))
    value, size, multiplier = (
        math.nan if math.isnan(returns) else _at(files.train, f"training/{name}", steps) for name in _MEASURED
    )
    return BoundSeed(files, step, success, returns, value, size, multiplier, stopped)


def _plain(number: float) -> str:
    return "" if math.isnan(number) else f"{number:.3g}"


def _at(table: Mapping[str, np.ndarray], name: str, step: int) -> float:
    """A column's number in the last row of a step, or NaN."""
    column = table.get(name, np.full(len(table["step"]), math.nan))[table["step"] == step]
    return float(column[-1]) if len(column) else math.nan


def _stopped(path: Path) -> tuple[int, str] | None:
    """At which step a run stopped early, and why; None if it did not."""
    try:
        record = json.loads((path / "stopped.json").read_text(encoding="utf-8"))
        return int(record["step"]), str(record["reason"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{path / 'stopped.json'} cannot be read ({error}); restore or remove it.") from error
