"""Watch runs while they are trained: how far they are, how long it takes, and how good they are so far.

    python recipes/watch.py runs
    python recipes/watch.py runs/cube-single-play-singletask-task2-v0/deflow/seed0-20260101-120000 --once

Ends when no run goes on, or with Ctrl-C, which does nothing to the runs. It reads their files alone.
"""

import deflow.workers.early_interrupt

# isort: split
import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

import deflow
from deflow import cli, report
from deflow.errors import ReportError, RunError
from deflow.launchers.watching import Line, Sweeps
from deflow.runs import Look, look, resume_command, sparkline

VALUES = ("training/value", "training/critic_value", "training/flow_loss", "training/critic_loss")
"""Columns of train.csv; the first that is there is shown as the value."""

COLUMNS = ("run", "step", "rate", "left", "value", "score", "state")
"""What is shown of a run; a column without entries is left out."""


@dataclasses.dataclass(frozen=True)
class Watch:
    """Options of the recipe."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path("runs"),)
    """Run directories, or folders that contain some; also that of a sweep."""

    once: bool = False
    """Show what there is now, and end. It is so, too, where the output is no terminal."""

    every: float = 2.0
    """Seconds between two looks."""

    def __post_init__(self):
        if not self.every > 0:
            raise ValueError(f"--every must be positive, got {self.every}.")


@dataclasses.dataclass(frozen=True)
class Sight:
    """What there is to see."""

    runs: list[tuple[Look, Line | None]]
    """The runs, each with the line of a sweep that made it, if one did."""

    lines: list[Line]
    """All lines of the sweeps that lie in the folders."""

    troubles: list[str]
    """What could not be looked at, a sentence each."""

    @property
    def over(self) -> bool:
        """Whether no run goes on, and none is to come."""
        waits = any(line.at_work or line.pending for line in self.lines)
        return not waits and all(each.over and not (line and line.at_work) for each, line in self.runs)


def main(options: Watch) -> None:
    """Look, show, wait, until no run goes on."""
    sight = look_at(options)
    if options.once or not sys.stdout.isatty():
        cli.show(screen(sight))
    else:
        with Live(screen(sight), console=Console(highlight=False), auto_refresh=False) as shown:
            while not sight.over:
                time.sleep(options.every)
                sight = look_at(options)
                shown.update(screen(sight), refresh=True)
    cli.say(*(f"Go on with: {command}" for command in dict.fromkeys(commands(sight))))


# --- looking


def look_at(options: Watch) -> Sight:
    """The runs as they are now, those that are trained together with them, and the sweeps."""
    sweeps, found, listed, troubles = Sweeps(), dict[Path, Look | None](), list[Line](), list[str]()
    for path in options.runs:
        folders = [path, *sorted(filter(Path.is_dir, path.glob("*")))]
        here = [line for folder in folders for line in sweeps.lines_in(folder)]
        listed += [line for line in here if line not in listed]
        try:
            below = report.find_runs([path], to="watch")
        except ReportError:
            if not here and not sweeps.troubles:
                raise
            below = []  # of a sweep that has begun none
        for run in (each.resolve() for each in below if each.is_dir()):
            for beside in together(run) if run not in found else ():
                if beside not in found:
                    found[beside] = look_or_say(beside, troubles)
    seen = [(each, sweeps.line_of(each)) for each in found.values() if each]
    return Sight(seen, listed, sweeps.troubles + troubles)


def look_or_say(path: Path, troubles: list[str]) -> Look | None:
    """The run as it is now; None, and a sentence, if it cannot be read: the others are shown."""
    try:
        return look(deflow.Run.open(path))
    except RunError as error:
        troubles.append(str(error))
        return None


def together(path: Path) -> list[Path]:
    """A run and those that are trained with it, as far as they are there."""
    try:
        beside = [path.parent / name for name in deflow.Run.open(path).together]
    except RunError:  # which looking at it says
        return [path]
    return [each for each in beside if each.is_dir()]


def commands(sight: Sight) -> Iterator[str]:
    """What goes on with the runs that do not: each by itself, or a sweep with its own."""
    left = [line for line in sight.lines if line.left]
    ended = [(deflow.Run.open(each.path), line) for each, line in sight.runs if each.state == "not running"]
    learning = [run.config["behaviour"] for run, _ in ended if run.config.get("behaviour")]
    parts = {Path(path) for behaviour in learning if behaviour["own"] for path in behaviour["runs"]}
    for run, line in ended:
        if run.path in parts:
            continue  # whoever learns it goes on with it
        if line is None or line.record.over:
            yield resume_command(run)
        elif line.left:
            left.append(line)
    for line in left:
        yield f"{cli.command('sweep', '--output-dir', line.folder)} (and the launcher that it had)"


# --- what is shown


def screen(sight: Sight) -> RenderableType:
    """The runs in words, below the folder or the line of a sweep that they belong to."""
    names = {each.score for each, _ in sight.runs if each.scores}
    score = next(iter(names)) if len(names) == 1 else ""
    called = {"run": "  run", "score": {"value": "estimate"}.get(score, score) or "score"}
    head = [called.get(name, name) for name in COLUMNS]
    shown = [(heading, [words(each, line, score) for each, line in own]) for heading, own in sections(sight)]
    rows = [row for _, own in shown for row in own]
    widths = [max((len(row[index]) for row in rows), default=0) for index in range(len(COLUMNS))]
    widths = [max(width, len(name)) if width else 0 for width, name in zip(widths, head, strict=True)]
    parts: list[RenderableType] = [table([head], widths, "bold")] if rows else []
    for heading, own in shown:
        parts += [Text(heading, overflow="fold"), *([table(own, widths)] if own else [])]
    parts += [Text(trouble, style="red", overflow="fold") for trouble in sight.troubles]
    return Group(*parts)


def sections(sight: Sight) -> list[tuple[str, list[tuple[Look, Line | None]]]]:
    """Headings, and the runs below each: those that are trained together, or are of one line of a sweep."""
    groups: dict[tuple[Line | None, Path, str], list[tuple[Look, Line | None]]] = {}
    for each, line in sight.runs:
        groups.setdefault((line, each.path.parent, each.path.name.partition("-")[2]), []).append((each, line))
    found: list[tuple[str, list[tuple[Look, Line | None]]]] = []
    sweeps = os.path.commonpath([line.folder for line in sight.lines]) if sight.lines else ""
    for line in sight.lines:
        name = str((line.folder / line.name).relative_to(sweeps))
        own = [(folder, runs) for (of, folder, _), runs in groups.items() if of == line]
        found += [] if own else [(f"{name}: {line}", [])]
        for folder, runs in own:
            heading = name + (f", {folder.name}" if len(own) > 1 else "")
            found.append((": ".join(filter(None, (heading, line.failure))), runs))
    others = {key: runs for key, runs in groups.items() if key[0] not in sight.lines}
    places = [folder.parents[min(1, len(folder.parents) - 1)] for _, folder, _ in others]  # above task and algorithm
    above = os.path.commonpath(places) if places else ""
    for (_, folder, time_of), runs in others.items():
        name = runs[0][0].path.name if len(runs) == 1 else f"*-{time_of}"
        found.append((str((folder / name).relative_to(above)), runs))
    return found


def table(rows: list[list[str]], widths: list[int], style: str = "") -> Table:
    """Rows with these widths, without the columns that have none. The state may take several lines."""
    made = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    for name, width in zip(COLUMNS, widths, strict=True):
        if width:
            side = "right" if name in ("step", "rate", "left") else "left"
            fixed = {} if name == "state" else {"width": width, "no_wrap": True}
            made.add_column(justify=side, overflow="fold", style=style, **fixed)
    for row in rows:
        made.add_row(*(Text(cell) for cell, width in zip(row, widths, strict=True) if width))
    return made


def words(each: Look, line: Line | None, score: str) -> list[str]:
    """A run in words, a cell for each column. `score` is what the column's head says already."""
    step = f"{each.step:,}" if each.last is None else f"{each.step:,}/{each.last:,}"
    rate = f"{each.rate:.3g}/s" if each.rate is not None and each.state == "running" else ""
    left = "" if each.left is None else f"{each.left / 60:.0f} min" if each.left > 90 else f"{each.left:.0f} s"
    named = next((name for name in VALUES if name in each.row), None)
    loss = "loss " if named and named.endswith("loss") else ""
    value = f"{loss}{each.row[named]:.3g}" if named else ""
    judged = ""
    if each.scores:
        known = [score for _, score in each.scores]
        bars = sparkline(known, low=0.0, high=1.0) if each.score == "success" else sparkline(known)
        judged = " ".join([bars, *([] if score else [each.score]), f"{known[-1]:.3g}"])
    return [f"  {each.path.name.partition('-')[0]}", step, rate, left, value, judged, state(each, line)]


def state(each: Look, line: Line | None) -> str:
    """What becomes of a run."""
    if each.state == "not running" and line is not None and not line.record.over:
        if line.record.state in ("stopped early", "failed", "killed"):
            return line.record.state
        if line.at_work or line.pending:
            return "the sweep goes on with it"
    said = {"waiting": "waits for its behaviour", "unknown": "perhaps running", "stopped": f"stopped: {each.note}"}
    silent = each.state not in ("finished", "stopped", "waiting") and each.silent > 60
    return said.get(each.state, each.state) + (f", no row for {each.silent / 60:.0f} min" if silent else "")


if __name__ == "__main__":
    cli.run_plain(main, Watch, description=__doc__)
