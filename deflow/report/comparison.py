"""A comparison of algorithms: one row per algorithm and task, over its seeds, and one over all tasks."""

import dataclasses
import itertools
import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderableType
from rich.table import Table
from rich.text import Text

from ..errors import ReportError
from .copies import each_once
from .labels import labels
from .reading import RunFiles, shared_behaviours
from .statistics import Estimate, interquartile_mean, mean
from .table import estimate_text

SUCCESS, RETURN = "evaluation/success", "evaluation/episode.return"
ESTIMATE = "estimate/value"

GAP = "   "
"""What is between two columns of a table."""

LABEL = 14
"""Fewest characters of a label on a line: less space makes the other columns narrower."""

CAPTION = (
    "Brackets: 95% intervals over seeds, Student's for a mean, a bootstrap's for an interquartile mean (IQM).",
    "Steps: gradient updates, then environment steps; runs of different lengths or settings have separate rows.",
)
"""Explains the numbers."""

CAPTION_ALL = (
    "All tasks: each seed's mean over tasks, then the mean of these and its interval over seeds.",
    "What belongs to a task, such as the bound or the data, may differ between tasks.",
)
"""The further explanation if there are several tasks."""


@dataclasses.dataclass(frozen=True)
class ComparisonLine:
    """Runs with the same settings on one task and the same step of the last evaluation, or a mean over tasks."""

    task: str
    """Name of the task, or which tasks."""

    label: str
    """The algorithm, and how these runs differ from its others."""

    steps: int
    """Step of the last evaluation."""

    runs: tuple[RunFiles, ...]
    """The runs, by seed."""

    values: tuple[tuple[float, ...], ...]
    """The metric at the last evaluation: for each task a row with one value per seed."""

    mean: Estimate
    """Mean over seeds; for several tasks over each seed's mean over tasks. Where tasks have different seeds, it is the
    mean of their means, without an interval."""

    iqm: Estimate
    """Interquartile mean over seeds and tasks."""

    returns: float
    """Mean undiscounted return over seeds; NaN if unknown, and for several tasks, which have no common unit."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The rows of a comparison, and notes about them."""

    metric: str
    """The column of eval.csv to compare."""

    lines: tuple[ComparisonLine, ...]
    """Rows by task, the best first."""

    over_tasks: tuple[ComparisonLine, ...]
    """Means over tasks, the best first; empty if there is one task."""

    notes: tuple[str, ...]
    """One sentence about each thing that readers should know."""

    @property
    def limits(self) -> tuple[float, float]:
        """The metric's possible range."""
        return (0.0, 1.0) if self.metric == SUCCESS else (-math.inf, math.inf)

    @property
    def axis(self) -> str:
        """What the metric is called in a picture."""
        return "success rate" if self.metric == SUCCESS else self.metric.removeprefix("evaluation/")

    def name_of(self, line: ComparisonLine) -> str:
        """What a picture calls a row: its label, with the number of steps if runs of several lengths have that label on
        any task, so that it is the same on all."""
        tasks = [other.task for other in self.lines if other.label == line.label]
        return line.label if len(set(tasks)) == len(tasks) else f"{line.label}, {line.steps:,} steps"

    def table(self) -> RenderableType:
        """The tables of all tasks for the terminal, without the notes: `rich.print(comparison.table())`."""
        return _Tables(self)

    def tables(self, space: int) -> Iterator[RenderableType]:
        """The same in so many columns: where they are too few, intervals have lines of their own."""
        headings, lines = self._cells()
        rows = [headings, *lines]
        label, *widths = _widths(rows)
        if (room := space - sum(widths) - len(GAP) * len(widths)) < min(label, LABEL):
            rows = [[*row[:2], *(re.sub(r" (?=[\[(])", "\n", cell) for cell in row[2:])] for row in rows]
            _, *widths = _widths(rows)
            room = max(LABEL, space - sum(widths) - len(GAP) * len(widths))
        for task, group in itertools.groupby(rows[1:], key=lambda row: row[0]):
            table = Table(
                title=Text(task),
                title_justify="left",
                box=SIMPLE_HEAD,
                show_header=task == lines[0][0],
                show_edge=False,
                pad_edge=False,
            )
            table.add_column(rows[0][1], width=min(label, room), overflow="fold")
            for heading, width in zip(rows[0][2:], widths, strict=True):
                table.add_column(heading, justify="right", width=width)
            for row in group:
                table.add_row(*map(Text, row[1:]))  # as `Text`, since rich would read "[0.48, 0.74]" for a style
            yield table
            yield ""
        yield Text("\n".join(self._caption()))

    def markdown(self) -> str:
        """The table as Markdown, with the notes and a list of the runs and their commits."""
        headings, lines = self._cells()
        rows = [headings, ["---"] * 2 + ["---:"] * (len(headings) - 2), *lines]
        table = "".join(f"| {' | '.join(row)} |\n" for row in rows)
        said = "\n".join(f"- {sentence}" for sentence in [*self._caption(), *self.notes])
        runs = "".join(
            f"| {line.label} | {run.seed} | `{run.path}` | {run.commit or 'unknown'} |\n"
            for line in self.lines
            for run in line.runs
        )
        return f"{table}\n{said}\n\n| algorithm | seed | run | commit |\n| --- | ---: | --- | --- |\n{runs}"

    def _caption(self) -> list[str]:
        return [*CAPTION, *CAPTION_ALL] if self.over_tasks else [*CAPTION]

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """The headings, and the rows as text."""
        name = self.metric.removeprefix("evaluation/")
        headings = ["task", "algorithm", "seeds", "steps", name, f"{name} (IQM)", "return"]
        lines = [self._texts(line) for line in (*self.lines, *self.over_tasks)]
        known = any(line[-1] for line in lines)
        last = len(headings) - (self.metric == RETURN or not known)  # none without an environment
        return headings[:last], [line[:last] for line in lines]

    def _texts(self, line: ComparisonLine) -> list[str]:
        style = ".2f" if self.metric == SUCCESS else ".4g"
        seeds = sorted({len(row) for row in line.values})
        return [
            line.task,
            line.label,
            "-".join(map(str, dict.fromkeys((seeds[0], seeds[-1])))),
            f"{line.steps:,}",
            estimate_text(line.mean, style, self.limits),
            estimate_text(line.iqm, style, self.limits),
            "" if math.isnan(line.returns) else f"{line.returns:.1f}",
        ]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """The widths of all columns but the first."""
    _, *columns = zip(*rows, strict=True)
    return [max(len(line) for cell in column for line in (*cell.splitlines(), "")) for column in columns]


@dataclasses.dataclass(frozen=True)
class _Tables:
    comparison: Comparison

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield from self.comparison.tables(options.max_width)


def compare(runs: Sequence[RunFiles], metric: str | None = None) -> Comparison:
    """Runs of any tasks, algorithms, settings and lengths, compared by a column of eval.csv at their last evaluation.
    A run that is given twice, as in its folder and in an archive, counts once.

    Without a metric it is success, or the return if no run reports success, or the estimated value if no run was
    played.

    Raises:
        ReportError: If no run has a value of the metric.
    """
    asked = metric
    runs, again = each_once(runs)
    known = [name for name in (SUCCESS, RETURN, ESTIMATE) if any(np.isfinite(_column(run, name)).any() for run in runs)]
    metric = metric or (known or [RETURN])[0]
    groups: dict[tuple[str, str, int], list[RunFiles]] = defaultdict(list)
    missing = []
    for run, label in zip(runs, labels(runs), strict=True):
        steps = run.evaluation["step"][~np.isnan(_column(run, metric))]
        if len(steps):
            groups[run.environment, label, int(steps[-1])].append(run)
        else:
            missing.append(run)
    if not groups:
        known = sorted(
            {name for run in runs for name, column in run.evaluation.items() if np.isfinite(column).any()} - {"step"}
        )
        has = f"there are {', '.join(known)}" if known else "none was evaluated yet"
        raise ReportError(f"No run has a value of {metric}: {has}; choose another metric or train for longer.")
    lines = [_line(*key, sorted(group, key=lambda run: run.seed), metric) for key, group in groups.items()]
    lines.sort(key=lambda line: (line.task, -line.mean.value, line.label))
    notes = again + [f"Left out, since it has no value of {metric} yet: {run.path}" for run in missing]
    if asked is None and metric != SUCCESS:
        instead = "return" if metric == RETURN else "the value that was estimated from the data"
        notes.insert(0, f"No environment reports success: compared by {instead}.")
    for line in lines:
        for seed, count in Counter(run.seed for run in line.runs).items():
            if count > 1:
                notes.append(
                    f"Seed {seed} of {line.label} on {line.task} appears {count} times: repeated seeds are not "
                    "independent; give only one of them."
                )
        notes += shared_behaviours(line.runs)
    over_tasks, without = _over_tasks(lines)
    return Comparison(metric, tuple(lines), tuple(over_tasks), (*notes, *without))


def _line(task: str, label: str, steps: int, runs: list[RunFiles], metric: str) -> ComparisonLine:
    values = tuple(_last(run, metric) for run in runs)
    returns = float(np.mean([_last(run, RETURN) for run in runs]))
    return ComparisonLine(task, label, steps, tuple(runs), (values,), mean(values), interquartile_mean(values), returns)


def _over_tasks(lines: list[ComparisonLine]) -> tuple[list[ComparisonLine], list[str]]:
    """One row per label and length, the best first, and a sentence about each that has no interval for its seeds."""
    tasks = {line.task for line in lines}
    if len(tasks) < 2:
        return [], []
    groups: dict[str, dict[int, list[ComparisonLine]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        groups[line.label][line.steps].append(line)
    over, notes = [], []
    for label, lengths in groups.items():
        most = max(map(len, lengths.values()))
        for steps, of in lengths.items():
            if len(of) == 1 < most:
                continue  # unfinished, say: it would only repeat its line
            name = f"{'all' if len(of) == len(tasks) else f'{len(of)} of'} {len(tasks)} tasks"
            values, every = tuple(line.values[0] for line in of), tuple(run for line in of for run in line.runs)
            seeds = [[run.seed for run in line.runs] for line in of]
            if len(of) == 1 or all(len(set(each)) == len(each) and each == seeds[0] for each in seeds):
                center = mean(np.mean(values, axis=0))
            else:
                center = Estimate(float(np.mean([line.mean.value for line in of])), math.nan, math.nan)
                notes.append(
                    f"{label} over {name}: no interval, since its tasks do not have the same seeds, each once."
                )
            over.append(ComparisonLine(name, label, steps, every, values, center, interquartile_mean(values), math.nan))
    # Who was not tried on every task stands below those who were.
    return sorted(over, key=lambda line: (-len(line.values), -line.mean.value, line.label)), notes


def _column(run: RunFiles, name: str) -> np.ndarray:
    return run.evaluation.get(name, np.full(len(run.evaluation["step"]), math.nan))


def _last(run: RunFiles, name: str) -> float:
    """The latest value, or NaN if there is none."""
    values = _column(run, name)
    values = values[~np.isnan(values)]
    return float(values[-1]) if len(values) else math.nan
