"""Carrying out one job in a process of its own, wherever a launcher wants it: begin, go on, wait, remember."""

import contextlib
import dataclasses
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import filelock
import psutil

from ..commands import said
from ..errors import DeflowError, SweepError
from ..paths import absolute
from ..runs import Run
from .job import Job
from .record import Record, State, identity
from .sweep import Sweep

LOG_FILE = "log.txt"
"""What a job prints, in its folder."""

ASKED_TO_END = (128 + signal.SIGINT, 128 + signal.SIGTERM, -signal.SIGINT, -signal.SIGTERM)
"""Exit codes of a job that was asked to end, before or after it could hear it."""

POLL = 0.5
"""Seconds between two looks at a job's process."""

LOOK = 3.0
"""Seconds between two looks at its memory."""


def carry_out(
    folder: str | os.PathLike[str],
    job: Job,
    *,
    cores: Sequence[int] = (),
    variables: Mapping[str, str] | None = None,
    interrupt: threading.Event | None = None,
) -> Record:
    """Begin a job in a sweep's folder, or go on with it, and wait for its end.

    A job that is finished is left alone. One whose process outlived its launcher is waited for. Its process may use
    these `cores` (empty: all) and has these environment `variables` besides its own. When `interrupt` is set, it is
    asked to end, saves, and is "interrupted". A job that cannot be begun or continued has failed, and its record says
    why.
    """
    sweep, interrupt = Sweep(absolute(folder)), interrupt or threading.Event()
    place = sweep.place(job)
    try:
        place.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(place / ".job.lock").acquire(timeout=0):
            return _carry_out(sweep, job, cores, variables or {}, interrupt)
    except filelock.Timeout:
        return dataclasses.replace(sweep.record(job), state="running", said="Another process carries it out.")
    except (DeflowError, OSError) as error:
        record = Record(state="failed", said=str(error))
        with contextlib.suppress(DeflowError):
            record = dataclasses.replace(sweep.record(job), state="failed", said=str(error), process=None).write(place)
        return record


def _carry_out(
    sweep: Sweep, job: Job, cores: Sequence[int], variables: Mapping[str, str], interrupt: threading.Event
) -> Record:
    place, record = sweep.place(job), check_unchanged(sweep, job)
    if record.over:
        return record
    if (process := record.alive()) is not None:
        record = _follow(place, record, process, None, interrupt)
        if interrupt.is_set():
            return record
    if waits := [name for name in job.needs if sweep.record(name).state != "finished"]:
        raise SweepError(f"{job.name} needs the runs of {', '.join(waits)}, which is not finished.")
    words = [sys.executable, "-m", "deflow", *_words(sweep, job)]
    with open(place / LOG_FILE, "a", encoding="utf-8") as log:
        print(f"$ {shlex.join(['deflow', *words[3:]])}", file=log, flush=True)
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **variables},
            start_new_session=True,  # Ctrl-C is passed on by the launcher alone
        )
    process = psutil.Process(child.pid)
    if cores and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(child.pid, cores)
    begun = {"state": "running", "command": _command(job), "said": "", "tries": record.tries + 1}
    record = dataclasses.replace(record, **begun, process=identity(process)).write(place)
    return _follow(place, record, process, child, interrupt)


def check_unchanged(sweep: Sweep, job: Job) -> Record:
    """The job's record, if it is of this command.

    Raises:
        SweepError: If the job was begun with another command.
    """
    record = sweep.record(job)
    if record.command not in (None, _command(job)):
        raise SweepError(
            f"{job.name} was begun with other arguments ({record.command}): give the line another name, or remove "
            f"{sweep.place(job)}."
        )
    return record


def _command(job: Job) -> str:
    return shlex.join([said(job.recipe), *job.arguments])


def _words(sweep: Sweep, job: Job) -> list[str]:
    """The command: the recipe from the beginning, or from a checkpoint of the job's runs."""
    made = [Run.open(path.parent) for path in sorted(sweep.place(job).glob("*/*/*/config.json"))]
    if any(run.checkpoints.steps() for run in made):
        runs = sweep.runs(job)
        flags = ["--import", *imports] if (imports := Run.open(runs[0]).config["options"].get("import_")) else []
        return ["resume", str(runs[0]), *flags]
    for run in made:  # killed before anything was computed
        shutil.rmtree(run.path, ignore_errors=True)
    given = job.given({need: sweep.runs(need) for need in job.needs})
    return [said(job.recipe), *given, "--output-dir", str(sweep.place(job))]


def _follow(
    place: Path, record: Record, watched: psutil.Process, child: subprocess.Popen | None, interrupt: threading.Event
) -> Record:
    """Wait for a job's process; `child` if it is this process's own, whose exit code is known."""
    began, peak, asked = time.monotonic(), record.peak, False
    next_look = began
    while _going(watched, child):
        if interrupt.is_set() and not asked:
            asked = True
            with contextlib.suppress(psutil.Error):
                watched.terminate()
        if time.monotonic() >= next_look:  # it looks at all processes of the machine
            peak, next_look = max(peak, memory_of(watched)), time.monotonic() + LOOK
        interrupt.wait(POLL) if not asked else time.sleep(POLL)
    took = {"seconds": record.seconds + time.monotonic() - began, "peak": peak, "process": None}
    if child is None:  # nobody knows how it ended: its runs do, when it is continued
        return dataclasses.replace(record, state="interrupted", **took).write(place)
    code = child.returncode
    sentence = "" if code == 0 or code in ASKED_TO_END else _last_sentence(place / LOG_FILE, code)
    ended: State = "killed" if code < 0 else "failed"
    state: State = "finished" if code == 0 else "interrupted" if code in ASKED_TO_END else ended
    return dataclasses.replace(record, state=state, said=sentence, **took).write(place)


def _going(watched: psutil.Process, child: subprocess.Popen | None) -> bool:
    if child is not None:
        return child.poll() is None
    return watched.is_running() and watched.status() != psutil.STATUS_ZOMBIE


def memory_of(process: psutil.Process) -> int:
    """Bytes of memory that a process and all that it started take."""
    total = 0
    try:
        for each in (process, *process.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                total += each.memory_info().rss
    except psutil.Error:
        pass
    return total


def _last_sentence(log: Path, code: int) -> str:
    """The error that a job ended with."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
    last = next((number for number in reversed(range(len(lines))) if lines[number].startswith("$ ")), -1)
    lines = [line for line in lines[last + 1 :] if line]
    for beginning in ("error: ", "not kept: ", "warning: "):
        if said := [line.removeprefix(beginning) for line in lines if line.startswith(beginning)]:
            return said[-1]
    if code < 0:
        return f"It was ended by {signal.Signals(-code).name}."
    return lines[-1] if lines else f"It ended with code {code}."
