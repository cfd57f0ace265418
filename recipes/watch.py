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
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.live import Live
from rich.table import Table

import deflow
from deflow import cli, report
from deflow.errors import SweepError
from deflow.launchers import Record
from deflow.runs import Look, look, resume_command, sparkline

VALUES = ("training/value", "training/critic_value", "training/flow_loss", "training/critic_loss")
"""Columns of train.csv; the first that is there is shown as the value."""


@dataclasses.dataclass(frozen=True)
class Watch:
    """Options of the recipe."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = (Path("runs"),)
    """Run directories, or folders that contain some."""

    once: bool = False
    """Show what there is now, and end. It is so, too, where the output is no terminal."""

    every: float = 2.0
    """Seconds between two looks."""

    def __post_init__(self):
        if not self.every > 0:
            raise ValueError(f"--every must be positive, got {self.every}.")


def main(options: Watch) -> None:
    """Look, show, wait, until no run goes on."""
    looks = look_at(options)
    if options.once or not sys.stdout.isatty():
        cli.show(table(looks))
    else:
        with Live(table(looks), console=Console(highlight=False), auto_refresh=False) as screen:
            while not all(each.over for each in looks):
                time.sleep(options.every)
                looks = look_at(options)
                screen.update(table(looks), refresh=True)
    ended = [deflow.Run.open(each.path) for each in looks if each.state == "not running" and not stopped_early(each)]
    cli.say(*(f"Go on with: {resume_command(run)}" for run in ended))


def look_at(options: Watch) -> list[Look]:
    """The runs as they are now, and those that are trained together with them."""
    found: dict[Path, Look] = {}
    for path in report.find_runs(options.runs):
        if path.is_dir():
            run = deflow.Run.open(path)
            for name in run.together:
                if (beside := run.path.parent / name) not in found and beside.is_dir():
                    found[beside] = look(deflow.Run.open(beside))
    return list(found.values())


def table(looks: list[Look]) -> Table:
    """A line for each run."""
    shown = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("run", "step", "rate", "left", "value", "score", "state"):
        shown.add_column(name, justify="right" if name in ("step", "rate", "left") else "left", overflow="fold")
    above = Path(os.path.commonpath([each.path.parent for each in looks])) if looks else Path()
    for each in looks:
        shown.add_row(str(each.path.relative_to(above)), *line(each))
    return shown


def line(each: Look) -> tuple[str, ...]:
    """A run in words."""
    step = f"{each.step:,}" if each.last is None else f"{each.step:,}/{each.last:,}"
    rate = f"{each.rate:.3g}/s" if each.rate is not None and each.state == "running" else ""
    left = "" if each.left is None else f"{each.left / 60:.0f} min" if each.left > 90 else f"{each.left:.0f} s"
    named = next((name for name in VALUES if name in each.row), None)
    value = f"{each.row[named]:.3g}" if named else ""
    score = ""
    if each.scores:
        known = [score for _, score in each.scores]
        bars = sparkline(known, low=0.0, high=1.0) if each.score == "success" else sparkline(known)
        score = f"{bars} {each.score} {known[-1]:.3g}"
    return step, rate, left, value, score, state(each)


def state(each: Look) -> str:
    """What becomes of a run, in words."""
    words = {"waiting": "waits for its behaviour", "unknown": "perhaps running", "stopped": f"stopped: {each.note}"}
    said = words.get(each.state, each.state)
    if stopped_early(each):
        return "stopped early"
    silent = each.state not in ("finished", "stopped", "waiting") and each.silent > 60
    return f"{said}, no row for {each.silent / 60:.0f} min" if silent else said


def stopped_early(each: Look) -> bool:
    """Whether a sweep has stopped it, by the record of its job."""
    try:
        return each.state == "not running" and Record.read(each.path.parents[2]).state == "stopped early"
    except (SweepError, IndexError):
        return False


if __name__ == "__main__":
    cli.run_plain(main, Watch, description=__doc__)
