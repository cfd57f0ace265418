"""A competition of jobs by their evaluations, which Ray Tune's ASHA decides."""

import contextlib
import json
import math
import re
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ..errors import DeflowError
from ..runs import Run, Stopped
from ..runs.watching import evaluations_of, last_step
from .job import Job
from .sweep import Sweep

LOOK_EVERY = 2.0
"""Seconds between two looks at the evaluations."""


class Group(NamedTuple):
    """What jobs must have in common to compete."""

    recipe: str
    """The recipe."""

    environment: str
    """Where they are judged: the environment, or the data and how its rewards count."""

    length: int
    """Their last step."""

    score: str
    """What is compared."""


class Result(NamedTuple):
    """An evaluation of a job."""

    job: Job
    """The job."""

    group: Group
    """The jobs that it competes with."""

    step: int
    """The step."""

    score: float
    """The mean over its seeds."""


class Competition:
    """All evaluations of a sweep's jobs so far, and those that come.

    Those that are there when it begins count, and stop no job: they were judged when they came.
    """

    def __init__(self, sweep: Sweep, *, score: str = "", grace: int = 0, reduction: float = 3.0):
        """The settings are those of `deflow.launchers.RayAsha`; without a `score`, it is the first that there is."""
        self._sweep, self._score, self._grace, self._reduction = sweep, score, grace, reduction
        self._rungs: dict[Group, Rungs] = {}
        self._last: dict[str, int] = {}
        self._next_look = 0.0
        self._seen: dict[str, Job] = {}
        needed = {name for job in sweep.jobs for name in job.needs}
        self._order = {job.name: number for number, job in enumerate(sweep.jobs) if job.name not in needed}
        self._judge(sweep.jobs)

    def poor(self, running: Sequence[Job]) -> dict[Job, str]:
        """Those of the jobs that run that shall be stopped, and why, by what came since the last look."""
        self._seen |= {job.name: job for job in running}
        if time.monotonic() < self._next_look:
            return {}
        found = self._judge(list(self._seen.values()))  # also those that ended since: their last evaluations count
        self._seen = {job.name: job for job in running}
        self._next_look = time.monotonic() + LOOK_EVERY
        return {job: why for job, why in found.items() if job in running}

    def _judge(self, jobs: Sequence[Job]) -> dict[Job, str]:
        new = [result for job in jobs if job.name in self._order for result in self._new(job)]
        poor: dict[Job, str] = {}
        for result in sorted(new, key=lambda each: (each.step, self._order[each.job.name])):
            if result.group not in self._rungs:
                self._rungs[result.group] = Rungs(result.group.length, self._grace, self._reduction)
            needed = self._rungs[result.group].judge(result.job.name, result.step, result.score)
            self._last[result.job.name] = result.step
            if needed is not None and result.job not in poor:
                score, least = _told_apart(result.score, needed)
                poor[result.job] = (
                    f"its {result.group.score} of {score} at step {result.step:,} was below the {least} that it needed "
                    "to go on."
                )
        over = {result.job for result in new if result.step >= result.group.length}
        return {job: why for job, why in poor.items() if job not in over}

    def _new(self, job: Job) -> list[Result]:
        with contextlib.suppress(DeflowError, OSError):  # runs that are just being made; the next look sees more
            last = self._last.get(job.name, -1)
            return [result for result in results_of(self._sweep, job, self._score) if result.step > last]
        return []


def results_of(sweep: Sweep, job: Job, score: str = "") -> Iterator[Result]:
    """The evaluations of a job that all of its seeds have, but for seeds that have stopped by then."""
    runs = [Run.open(path) for path in sweep.runs(job)]
    if not runs or (length := last_step(runs[0])) is None:
        return
    named = [evaluations_of(run, score) for run in runs]
    stopped = [math.inf if found is None else found.step for found in (Stopped.read(run.path) for run in runs)]
    tables = [dict(table) for _, table in named]
    group = Group(str(runs[0].config.get("recipe")), _environment(runs[0], named[0][0]), length, named[0][0])
    for step in sorted({step for table in tables for step in table}):
        if all(step in table or end <= step for table, end in zip(tables, stopped, strict=True)):
            scores = np.array([table[step] for table in tables if step in table])
            if np.isfinite(scores).any():
                yield Result(job, group, step, float(scores[np.isfinite(scores)].mean()))


def _environment(run: Run, score: str) -> str:
    judged: list[object] = [run.environment, run.config.get("environment")]
    if score == "value":  # whose unit is that of the discounted rewards
        data, agent = run.config.get("data") or {}, run.config.get("agent") or {}
        judged += [data.get("sha256"), run.config.get("rewards"), agent.get("discount")]
    return json.dumps(judged, sort_keys=True)


class Rungs:
    """The milestones of one group, by Ray Tune."""

    def __init__(self, length: int, grace: int, reduction: float):
        from ray.tune.experiment import Trial
        from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

        first = grace or math.ceil(length / 10)
        self._length, self._trial, self._stop = length, Trial, TrialScheduler.STOP
        self._trials: dict[str, Trial] = {}
        self._scheduler = AsyncHyperBandScheduler(
            "step",
            "score",
            "max",
            max_t=max(length, first),
            grace_period=first,
            reduction_factor=reduction,
            stop_last_trials=False,  # they end by themselves
        )

    def judge(self, name: str, step: int, score: float) -> float | None:
        """Report an evaluation. If the job shall be stopped: the score that was needed."""
        result = {"step": step, "score": score}
        if (trial := self._trials.get(name)) is None:
            trial = self._trials[name] = self._trial("deflow", trial_id=name, stub=True)
            self._scheduler.on_trial_add(None, trial)  # pyright: ignore[reportArgumentType]
        if step >= self._length:
            self._scheduler.on_trial_complete(None, trial, result)  # pyright: ignore[reportArgumentType]
            return None
        needed = self._needed(step)
        decision = self._scheduler.on_trial_result(None, trial, result)  # pyright: ignore[reportArgumentType]
        return needed if decision == self._stop else None

    def _needed(self, step: int) -> float:
        """What is needed at the last milestone up to a step, as Tune says it, from the furthest to the first; NaN if it
        does not."""
        told = re.findall(r"Iter ([\d.]+): (\S+)", self._scheduler.debug_string())
        here = [needed for milestone, needed in told if float(milestone) <= step]
        try:
            return float(here[0])
        except (IndexError, ValueError):
            return math.nan


def _told_apart(one: float, other: float) -> tuple[str, str]:
    """Two numbers with as few digits, three or more, as tell them apart."""
    pairs = [(f"{one:.{digits}g}", f"{other:.{digits}g}") for digits in range(3, 18)]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[-1])
