"""A table of results: one row per run, and the mean over seeds with its interval."""

import dataclasses
import itertools
import math
import os
from collections.abc import Iterable

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from .finding import read_runs
from .reading import RunFiles, shared_behaviours
from .statistics import Estimate, mean

BEFORE = "before online"
"""Heading of a column that is left out if no run has a value in it."""

NORMALIZED = "normalized score"
"""Heading of another."""

ESTIMATED = "value"
"""Heading of what was estimated from the data alone, likewise."""

COLUMNS = ("task", "algorithm", "seed", "steps", BEFORE, "success", "return", NORMALIZED, "length", ESTIMATED)
"""Headings, in the order of `ResultRow.cells`."""

CAPTION = "Brackets: 95% intervals over episodes, or over seeds for a mean."
"""Explains the numbers."""

CAPTION_ESTIMATED = "Value: the discounted return, estimated from the data (intervals: over trajectories and critics)."
"""The further explanation of estimates."""

CAPTION_ONLINE = "Steps: gradient updates, then environment steps.\nBefore online: success at the switch."
"""The further explanation if there are two phases."""

NOTHING = Estimate(math.nan, math.nan, math.nan)
"""For a missing metric."""


@dataclasses.dataclass(frozen=True)
class ResultRow:
    """One row: a run's last evaluation, or the mean over the seeds of an algorithm on a task."""

    environment: str
    """Name of the task."""

    algorithm: str
    """Name of the algorithm."""

    seed: str
    """The seed, or `mean of n`."""

    steps: int | None
    """The step of the evaluation: gradient updates made offline, then environment steps; the last logged step for a
    run that was not evaluated, `None` for a mean over runs of different lengths."""

    before_online: Estimate
    """Success rate when training went online, with an interval like that of `success`; NaN if it did not."""

    success: Estimate
    """Success rate, with an interval over episodes for a run and over seeds for a mean."""

    returns: Estimate
    """Undiscounted return, likewise."""

    score: Estimate
    """The normalized return, likewise; NaN where the task has no reference scores."""

    length: float
    """Mean number of environment steps in an episode."""

    estimated: Estimate = NOTHING
    """Discounted return that was estimated from the data, with an interval over trajectories and critics."""

    is_mean: bool = False
    """Whether the row is a mean over seeds."""

    def cells(self) -> tuple[str, ...]:
        """The row as text, empty where a value is unknown."""
        return (
            self.environment,
            self.algorithm,
            self.seed,
            "" if self.steps is None else f"{self.steps:,}",
            # Without its interval, as the normalized score, so that a table of seeds is no wider than a terminal.
            "" if math.isnan(self.before_online.value) else f"{self.before_online.value:.2f}",
            estimate_text(self.success, ".2f", (0.0, 1.0)),
            estimate_text(self.returns, ".1f", (-math.inf, math.inf)),
            "" if math.isnan(self.score.value) else f"{self.score.value:.1f}",
            "" if math.isnan(self.length) else f"{self.length:.0f}",
            estimate_text(self.estimated, ".3g", (-math.inf, math.inf)),
        )


def result_rows(runs: Iterable[str | os.PathLike[str]]) -> list[ResultRow]:
    """The rows for the runs in these directories, with a mean for each algorithm on a task with several seeds.

    Raises:
        ReportError: If a directory is not a run.
    """
    rows: list[ResultRow] = []
    for _, group in itertools.groupby(read_runs(runs), key=lambda run: (run.environment, run.algorithm)):
        members = [_row(run) for run in group]
        rows += members
        if len(members) > 1:
            rows.append(_mean(members))
    return rows


def narrow_table(title: str, caption: str) -> Table:
    """A table for the terminal, without columns yet, that wastes no space."""
    return Table(
        title=Text(title),
        caption=Text(caption),
        box=SIMPLE_HEAD,
        title_justify="left",
        caption_justify="left",
        show_edge=False,
        pad_edge=False,
        collapse_padding=True,
    )


def results_table(runs: Iterable[str | os.PathLike[str]]) -> Table:
    """The rows as a table for the terminal: `rich.print(results_table(runs))`."""
    runs = list(runs)
    rows = result_rows(runs)
    headings, *lines = _columns(rows)
    one_kind = len({(row.environment, row.algorithm) for row in rows}) == 1
    first = 2 if one_kind else 0
    title = f"{rows[0].algorithm} on {rows[0].environment}" if one_kind else "Results"
    table = narrow_table(title, _caption(headings, runs))  # two phases of a million steps each fit 80 columns
    for heading in headings[first:]:
        narrow = heading.replace(" ", "\n")
        table.add_column(narrow, justify="left" if heading in COLUMNS[:3] else "right", no_wrap=True)
    for row, line in zip(rows, lines, strict=True):
        # As `Text`, since rich would read "[0.48, 0.74]" for a style.
        table.add_row(*map(Text, line[first:]), style="bold" if row.is_mean else None, end_section=row.is_mean)
    return table


def results_markdown(runs: Iterable[str | os.PathLike[str]]) -> str:
    """The rows as a Markdown table."""
    runs = list(runs)
    headings, *lines = _columns(result_rows(runs))
    lines = [headings, ("---",) * len(headings), *lines]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + f"\n{_caption(headings, runs)}\n"


def _columns(rows: list[ResultRow]) -> list[tuple[str, ...]]:
    """Headings and rows, without the rare columns in which no row has a value."""
    lines = [COLUMNS, *(row.cells() for row in rows)]
    names = (BEFORE, NORMALIZED, ESTIMATED)
    if any(line[-1] for line in lines[1:]):  # estimates, and perhaps no episodes
        names = (*names, "success", "return", "length")
    rare = [COLUMNS.index(name) for name in names]
    shown = [place for place in range(len(COLUMNS)) if place not in rare or any(line[place] for line in lines[1:])]
    return [tuple(line[place] for place in shown) for line in lines]


def _caption(headings: tuple[str, ...], runs: Iterable[str | os.PathLike[str]]) -> str:
    sentences = [CAPTION] if "return" in headings else []
    sentences += [CAPTION_ONLINE] if BEFORE in headings else []
    sentences += [CAPTION_ESTIMATED] if ESTIMATED in headings else []
    for _, group in itertools.groupby(read_runs(runs), key=lambda run: (run.environment, run.algorithm)):
        sentences += shared_behaviours(group)
    return "\n".join(sentences)


def _row(run: RunFiles) -> ResultRow:
    return ResultRow(
        run.environment,
        run.algorithm,
        str(run.seed),
        int(run.evaluation["step"].max()) if len(run.evaluation["step"]) else run.steps,
        _last(run, "evaluation/success", at=run.online_from) if run.online_from is not None else NOTHING,
        _last(run, "evaluation/success"),
        _last(run, "evaluation/episode.return"),
        _last(run, "evaluation/normalized_score"),
        _last(run, "evaluation/episode.length").value,
        _last(run, "estimate/value"),
    )


def _last(run: RunFiles, name: str, at: int | None = None) -> Estimate:
    """A metric at the last evaluation (or `at` a step), with the interval that was logged."""
    steps = run.evaluation["step"]
    blank = np.full(len(steps), math.nan)
    rows = slice(None) if at is None else steps == at
    columns = (run.evaluation.get(column, blank)[rows] for column in (name, f"{name}.low", f"{name}.high"))
    return Estimate(*(float(column[-1]) if len(column) else math.nan for column in columns))


def _mean(rows: list[ResultRow]) -> ResultRow:
    steps = {row.steps for row in rows}
    return ResultRow(
        rows[0].environment,
        rows[0].algorithm,
        f"mean of {len(rows)}",
        steps.pop() if len(steps) == 1 else None,
        mean([row.before_online.value for row in rows]),
        mean([row.success.value for row in rows]),
        mean([row.returns.value for row in rows]),
        mean([row.score.value for row in rows]),
        float(np.mean([row.length for row in rows])),
        mean([row.estimated.value for row in rows]),
        is_mean=True,
    )


def estimate_text(estimate: Estimate, style: str, limits: tuple[float, float]) -> str:
    """`0.60 [0.50, 0.70]`, clipped to the number's possible range; only the value if it has no interval."""
    if math.isnan(estimate.value):
        return ""
    value, low, high = (f"{min(max(number, limits[0]), limits[1]):{style}}" for number in estimate)
    return value if math.isnan(estimate.low) else f"{value} [{low}, {high}]"
