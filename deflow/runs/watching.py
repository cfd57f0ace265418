"""Looking at runs from outside, while they are trained or later: how far they are, how good, and whether they go on."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..errors import RunError
from .locking import is_locked
from .run import Run
from .scores import scores_of
from .stopped import Stopped

State = Literal["starting", "waiting", "running", "finished", "stopped", "not running", "unknown"]
"""waiting: for the run that learns its flow; unknown: whoever trains it does not lock it."""

SILENCE = 300.0
"""Seconds without a row that are worth a word."""

START = 180.0
"""Seconds that a new run may take before it is locked."""


@dataclasses.dataclass(frozen=True)
class Look:
    """A run, as it is now."""

    path: Path
    """Its directory."""

    state: State
    """What becomes of it."""

    step: int
    """The step of its newest row; 0 if it has none."""

    last: int | None
    """Its last step, if a recipe trains it."""

    rate: float | None
    """Steps per second lately, if that is known."""

    silent: float
    """Seconds since its newest row, or since it was made."""

    row: dict[str, float]
    """Its newest row of train.csv."""

    score: str
    """Whether `success`, `return` or `value` tells how good it is."""

    scores: tuple[tuple[int, float], ...]
    """Steps and scores of its evaluations."""

    note: str = ""
    """Why it stopped."""

    @property
    def left(self) -> float | None:
        """Seconds until its last step, evaluations aside, if that is known."""
        if self.state != "running" or self.rate is None or self.last is None or self.last <= self.step:
            return None
        return (self.last - self.step) / self.rate

    @property
    def over(self) -> bool:
        """Whether nothing more is to be seen for now."""
        return self.state in ("finished", "stopped", "not running") or (
            self.state == "unknown" and self.silent > SILENCE
        )


def look(run: Run) -> Look:
    """Look at a run.

    Raises:
        RunError: If its files are damaged.
    """
    train = run.read("train")
    steps = train["step"]
    step = int(steps[-1]) if len(steps) else 0
    row = {name: float(column[-1]) for name, column in train.items() if name != "step" and len(steps)}
    score, scores = evaluations_of(run)
    changed = [_time_of(run.path / name) for name in ("train.csv", "eval.csv", "config.json")]
    silent, last, stopped = time.time() - max(changed), last_step(run), Stopped.read(run.path)
    return Look(
        path=run.path,
        state="stopped" if stopped else _state(run, step, last, silent),
        step=step,
        last=last if last is None or step <= last else None,  # continued before that was recorded
        rate=_rate(run, step),
        silent=max(silent, 0.0),
        row={name: value for name, value in row.items() if not math.isnan(value)},
        score=score,
        scores=scores,
        note=stopped.reason if stopped else "",
    )


def evaluations_of(run: Run, score: str = "") -> tuple[str, tuple[tuple[int, float], ...]]:
    """The name of what tells how good a run is, unless it is given, and the steps and scores of its evaluations.

    Raises:
        RunError: If its eval.csv is damaged.
    """
    columns = run.read("eval")
    rows = [{name: float(column[index]) for name, column in columns.items()} for index in range(len(columns["step"]))]
    score, scores = scores_of(rows, score)
    return score, tuple(zip(map(int, columns["step"]), scores, strict=True))


def last_step(run: Run) -> int | None:
    """The last step of a recipe's run, as it was begun or last continued."""
    options: Mapping[str, Any] = run.config.get("options", {})
    if "steps" not in options:
        return None
    return options["steps"] + (options.get("online_steps", 0) if run.config.get("recipe") != "offline" else 0)


def is_trained(path: Path, together: Sequence[str]) -> bool | None:
    """Whether a process has locked the run, or those that are trained with it; None if none ever has."""
    return is_locked(path.parent / together[0] / ".lock")


def _state(run: Run, step: int, last: int | None, silent: float) -> State:
    for path in map(Path, run.config.get("behaviour", {}).get("runs", ()) if step == 0 else ()):
        try:
            before = Run.open(path)
        except RunError:
            continue
        if is_trained(before.path, before.together):
            return "waiting"
    trained = is_trained(run.path, run.together)
    if trained:
        return "running"
    if last is not None and step >= last:
        return "finished"
    if trained is None:
        return "starting" if step == 0 and silent < START else "unknown"
    return "not running"


def _rate(run: Run, step: int) -> float | None:
    """From when the last checkpoints and the newest row were written."""
    times = {saved: _time_of(run.checkpoints.directory / str(saved)) for saved in run.checkpoints.steps()[-2:]}
    times.setdefault(step, _time_of(run.path / "train.csv"))
    (first, began), (newest, now) = min(times.items()), max(times.items())
    return (newest - first) / (now - began) if newest > first and now > began > 0 else None


def _time_of(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def sparkline(values: Sequence[float], *, low: float | None = None, high: float | None = None, width: int = 8) -> str:
    """Numbers as a row of bars, the newest last; a blank where one is not known."""
    shown = np.asarray(values[-width:], float)
    known = shown[np.isfinite(shown)]
    if not len(known):
        return ""
    least = float(known.min()) if low is None else low
    span = (float(known.max()) if high is None else high) - least
    scaled = (shown - least) / (span or 1.0)
    bars = "▁▂▃▄▅▆▇█"
    return "".join(" " if math.isnan(x) else bars[round(min(max(x, 0.0), 1.0) * (len(bars) - 1))] for x in scaled)
