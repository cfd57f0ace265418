"""On this machine: processes pinned to cores, or to accelerators, as many as fit in memory."""

import concurrent.futures
import dataclasses
import functools
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence

import psutil

from ..errors import SweepError
from ..workers.spawning import threads, usable_cores
from .base import AbstractLauncher, register
from .carrying import carry_out, memory_of
from .job import Job
from .record import Record
from .sweep import Sweep

FIRST_GUESS = 2_000_000_000
"""Bytes of memory that a job is expected to take, until one has run."""

PATIENCE = 1.0
"""Seconds between two looks at whether another job can begin."""


@register("local")
@dataclasses.dataclass(frozen=True)
class Local(AbstractLauncher):
    """Jobs on this machine, each on cores of its own, and on an accelerator of its own if there are any.

    A job begins when one that is over leaves a place for it, and the memory that is free is enough for the largest job
    so far, after what those that run may still take. One that was killed, for example since memory ran out, is begun
    again `retries` times, from its checkpoint.
    """

    at_once: int = 0
    """Jobs that run at once; 0: one for each accelerator, or one for each core."""

    retries: int = 1
    """How often a job that was killed is begun again."""

    def __post_init__(self):
        if self.at_once < 0 or self.retries < 0:
            raise SweepError(f"at_once and retries must be at least 0, got {self.at_once} and {self.retries}.")

    def launch(self, sweep: Sweep, jobs: Sequence[Job], interrupt: threading.Event) -> Iterator[tuple[Job, Record]]:
        places = self.places(len(jobs))
        left, running, free = list(jobs), dict[concurrent.futures.Future, tuple[Job, int]](), list(range(len(places)))
        tries: dict[str, int] = {}
        with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
            while left or running:
                for job in [*left]:
                    if interrupt.is_set() or not free:
                        break
                    if not sweep.ready(job):
                        continue
                    if not self._fits(sweep, jobs, [job for job, _ in running.values()]):
                        break
                    left.remove(job)
                    place = free.pop(0)
                    cores, variables = places[place]
                    begin = functools.partial(
                        carry_out, sweep.folder, job, cores=cores, variables=variables, interrupt=interrupt
                    )
                    running[pool.submit(begin)] = job, place
                if not running:
                    return  # the rest needs what has failed
                done, _ = concurrent.futures.wait(running, PATIENCE, concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    job, place = running.pop(future)
                    free.append(place)
                    record = future.result()
                    tries[job.name] = tries.get(job.name, 0) + 1
                    if record.state == "killed" and tries[job.name] <= self.retries and not interrupt.is_set():
                        left.insert(0, job)
                    else:
                        yield job, record

    def places(self, jobs: int) -> list[tuple[list[int], dict[str, str]]]:
        """The cores and the environment variables of each job that can run at once."""
        devices = accelerators()
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(usable_cores()))
        count = max(1, min(self.at_once or len(devices) or len(cores), jobs))
        each = max(1, len(cores) // count)
        places = []
        for place in range(count):
            own = [cores[(place * each + core) % len(cores)] for core in range(each)]
            variables = threads(each)
            if devices:
                shared = -(-count // len(devices))
                variables["CUDA_VISIBLE_DEVICES"] = devices[place % len(devices)]
                variables["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{0.9 / shared:.2f}"
            places.append((own, variables))
        return places

    def _fits(self, sweep: Sweep, jobs: Sequence[Job], running: Sequence[Job]) -> bool:
        """Whether another job fits in the memory that is free."""
        if not running:
            return True
        largest = max([sweep.record(job).peak for job in jobs], default=0)
        taken = [memory_of(process) for job in running if (process := sweep.record(job).alive()) is not None]
        largest = max([largest, *taken, 0 if largest else FIRST_GUESS])
        to_come = sum(largest - each for each in taken) + largest * (len(running) - len(taken))
        return psutil.virtual_memory().available > to_come + largest


def accelerators() -> list[str]:
    """The names of this machine's CUDA devices, without starting JAX, which would take their memory."""
    if os.environ.get("JAX_PLATFORMS", "").lower() == "cpu":
        return []
    if (visible := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in visible.split(",") if name.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    query = ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return listed.stdout.split() if listed.returncode == 0 else []
