"""A table of results: one line per run, and the mean over seeds with its interval."""

import dataclasses
import itertools
import math
import os
from collections.abc import Iterable

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from deflow.report.files import RunFiles, read_runs
from deflow.report.statistics import Estimate, mean

COLUMNS = ("task", "algorithm", "seed", "updates", "success", "return", "length")
"""Headings, in the order of `ResultRow.cells`."""

CAPTION = "Brackets: 95% intervals over a run's episodes, or over seeds for a mean."
"""What the numbers are."""


@dataclasses.dataclass(frozen=True)
class ResultRow:
    """One line: a run's last evaluation, or the mean over the seeds of an algorithm on a task."""

    environment: str
    """Name of the task."""

    algorithm: str
    """Name of the algorithm."""

    seed: str
    """The seed, or `mean of n`."""

    updates: int | None
    """Gradient updates done; `None` for a mean over runs of different lengths."""

    success: Estimate
    """Success rate; its interval is over episodes for a run, and over seeds for a mean."""

    returns: Estimate
    """Undiscounted return, likewise."""

    length: float
    """Mean number of environment steps in an episode."""

    is_mean: bool = False
    """Whether the line is a mean over seeds."""

    def cells(self) -> tuple[str, ...]:
        """The line as texts, an empty one for what is not known."""
        return (
            self.environment,
            self.algorithm,
            self.seed,
            "" if self.updates is None else f"{self.updates:,}",
            _estimate(self.success, ".2f", (0.0, 1.0)),
            _estimate(self.returns, ".1f", (-math.inf, math.inf)),
            "" if math.isnan(self.length) else f"{self.length:.0f}",
        )


def result_rows(runs: Iterable[str | os.PathLike]) -> list[ResultRow]:
    """The lines for the runs in these directories; each algorithm on a task ends with its mean where it has two seeds.

    Raises `ReportError` for what is no run.
    """
    rows: list[ResultRow] = []
    for _, group in itertools.groupby(read_runs(runs), key=lambda run: (run.environment, run.algorithm)):
        members = [_row(run) for run in group]
        rows += members
        if len(members) > 1:
            rows.append(_mean(members))
    return rows


def results_table(runs: Iterable[str | os.PathLike]) -> Table:
    """The lines as a table for the terminal: `rich.print(results_table(runs))`."""
    rows = result_rows(runs)
    one_kind = len({(row.environment, row.algorithm) for row in rows}) == 1
    first = 2 if one_kind else 0
    title = f"{rows[0].algorithm} on {rows[0].environment}" if one_kind else "Results"
    table = Table(title=title, caption=Text(CAPTION), box=SIMPLE_HEAD, title_justify="left", caption_justify="left")
    for heading in COLUMNS[first:]:
        table.add_column(heading, justify="left" if heading in COLUMNS[:3] else "right", no_wrap=True)
    for row in rows:
        # As `Text`, since rich would read "[0.48, 0.74]" for a style.
        table.add_row(*map(Text, row.cells()[first:]), style="bold" if row.is_mean else None, end_section=row.is_mean)
    return table


def results_markdown(runs: Iterable[str | os.PathLike]) -> str:
    """The lines as a Markdown table, for a file or a page."""
    lines = [COLUMNS, ("---",) * len(COLUMNS), *(row.cells() for row in result_rows(runs))]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + f"\n{CAPTION}\n"


def _row(run: RunFiles) -> ResultRow:
    return ResultRow(
        run.environment,
        run.algorithm,
        str(run.seed),
        run.steps,
        _last(run, "evaluation/success"),
        _last(run, "evaluation/episode.return"),
        _last(run, "evaluation/episode.length").value,
    )


def _last(run: RunFiles, name: str) -> Estimate:
    """A metric at the last evaluation, with the interval that the evaluation itself logged."""
    columns = (run.evaluation.get(column, np.array([])) for column in (name, f"{name}.low", f"{name}.high"))
    return Estimate(*(float(column[-1]) if len(column) else math.nan for column in columns))


def _mean(rows: list[ResultRow]) -> ResultRow:
    updates = {row.updates for row in rows}
    return ResultRow(
        rows[0].environment,
        rows[0].algorithm,
        f"mean of {len(rows)}",
        updates.pop() if len(updates) == 1 else None,
        mean([row.success.value for row in rows]),
        mean([row.returns.value for row in rows]),
        float(np.mean([row.length for row in rows])),
        is_mean=True,
    )


def _estimate(estimate: Estimate, style: str, limits: tuple[float, float]) -> str:
    if math.isnan(estimate.value):
        return ""
    value, low, high = (f"{min(max(number, limits[0]), limits[1]):{style}}" for number in estimate)
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"
