"""On a Slurm cluster, by submitit: a job array, whose jobs are requeued when they are preempted."""

import contextlib
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from ..errors import SweepError
from .base import AbstractLauncher, register
from .carrying import carry_out
from .job import Job
from .record import Record
from .sweep import Sweep

QUEUE_FOLDER = "queue"
"""Where scripts and outputs of the queue's jobs lie, in the sweep's folder."""

ASK_EVERY = 5.0
"""Seconds between two looks at the queue."""

GRACE = 60.0
"""Seconds that a job has to save when it is preempted."""


@register("slurm")
@dataclasses.dataclass(frozen=True)
class Slurm(AbstractLauncher):
    """Jobs of a Slurm queue: an array for those that need nothing, one for all that wait for the same runs.

    A job that is preempted, or reaches its time limit, saves and is queued again. The sweep's folder must be one that
    all nodes see. Ctrl-C leaves the queue's jobs where they are; the same command finds them again.
    """

    packages: ClassVar[tuple[str, ...]] = ("submitit",)
    extra: ClassVar[str | None] = "slurm"

    partition: str = ""
    """Slurm's partition (default: the cluster's own)."""

    hours: float = 24.0
    """Time limit of a job."""

    cpus: int = 4
    """Cores of a job."""

    gpus: int = 0
    """GPUs of a job."""

    memory: float = 16.0
    """Memory of a job, in gigabytes."""

    at_once: int = 100
    """Jobs of an array that run at once."""

    options: str = ""
    """Other options of sbatch, as NAME:VALUE and VALUE is what follows `--NAME=`; several are joined by `;`."""

    cluster: Literal["slurm", "local"] = "slurm"
    """local: processes of this machine in place of the queue, to try it."""

    def __post_init__(self):
        for name in ("hours", "cpus", "memory", "at_once"):
            if not getattr(self, name) > 0:
                raise SweepError(f"{name} must be positive, got {getattr(self, name)}.")
        if self.gpus < 0:
            raise SweepError(f"gpus must be at least 0, got {self.gpus}.")

    def launch(self, sweep: Sweep, jobs: Sequence[Job], interrupt: threading.Event) -> Iterator[tuple[Job, Record]]:
        import submitit

        queued: dict[str, Any] = {}
        left = list(jobs)
        for job in jobs:  # those that an earlier call queued
            record = sweep.record(job)
            if record.queue is not None and record.state in ("submitted", "running"):
                kind = submitit.SlurmJob if self.cluster == "slurm" else submitit.LocalJob
                queued[job.name] = kind(sweep.folder / QUEUE_FOLDER, record.queue)
                left.remove(job)
        waited = [job for job in jobs if job.name in queued]
        while left or waited:
            if left and not interrupt.is_set():
                for job in (begun := self._submit(sweep, left, queued)):
                    left.remove(job)
                waited += begun
            for job in [job for job in waited if queued[job.name].done()]:
                waited.remove(job)
                yield job, self._ended(sweep, job, queued[job.name])
            if interrupt.is_set() or (left and not waited and not self._can_begin(sweep, left, queued)):
                return
            interrupt.wait(ASK_EVERY if self.cluster == "slurm" else 0.5)

    def _can_begin(self, sweep: Sweep, left: Sequence[Job], queued: dict[str, Any]) -> list[Job]:
        """Those that need nothing more, or nothing but what is queued, whose end Slurm waits for."""
        there = queued if self.cluster == "slurm" else {}
        return [
            job for job in left if all(need in there or sweep.record(need).state == "finished" for need in job.needs)
        ]

    def _submit(self, sweep: Sweep, left: Sequence[Job], queued: dict[str, Any]) -> list[Job]:
        """Queue what can begin, as an array for all that wait for the same jobs of the queue."""
        jobs = self._can_begin(sweep, left, queued)
        groups: dict[tuple[str, ...], list[Job]] = {}
        for job in jobs:
            after = sorted(queued[need].job_id for need in job.needs if need in queued)
            groups.setdefault(tuple(after), []).append(job)
        for after, group in groups.items():
            carried = [Carried(str(sweep.folder), job) for job in group]
            for job, one in zip(group, self.executor(sweep, after=after).submit_array(carried), strict=True):
                queued[job.name] = one
                dataclasses.replace(sweep.record(job), state="submitted", queue=one.job_id).write(sweep.place(job))
        return jobs

    def executor(self, sweep: Sweep, *, after: Sequence[str] = ()) -> Any:
        """submitit's executor with these settings, for jobs that begin when those of the queue `after` are finished."""
        import submitit

        try:
            executor = submitit.AutoExecutor(sweep.folder / QUEUE_FOLDER, cluster=self.cluster)
        except RuntimeError as error:
            raise SweepError(f"There is no Slurm on this machine ({error}): try it with cluster=local.") from error
        executor.update_parameters(
            name="deflow",
            timeout_min=max(1, round(self.hours * 60)),
            cpus_per_task=self.cpus,
            gpus_per_node=self.gpus,
            mem_gb=self.memory,
        )
        if self.cluster == "slurm":
            more = dict(each.split(":", 1) for each in self.options.split(";") if ":" in each)
            if after:
                more |= {"dependency": f"afterok:{':'.join(after)}", "kill-on-invalid-dep": "yes"}
            executor.update_parameters(
                slurm_array_parallelism=self.at_once,
                slurm_signal_delay_s=round(GRACE),
                **({"slurm_partition": self.partition} if self.partition else {}),
                **({"slurm_additional_parameters": more} if more else {}),
            )
        return executor

    def _ended(self, sweep: Sweep, job: Job, queued: Any) -> Record:
        """A job's record, after the queue is done with it."""
        record = sweep.record(job)
        if record.state in ("submitted", "running"):  # it could not write what became of it
            state = str(queued.state).lower()
            record = dataclasses.replace(record, state="killed", said=f"The queue says: {state}.", process=None)
        return dataclasses.replace(record, queue=None).write(sweep.place(job))


class Carried:
    """What a job of the queue does; preempted, it saves and is queued again."""

    def __init__(self, folder: str, job: Job):
        self.folder, self.job = folder, job

    def __call__(self) -> str:
        record = carry_out(self.folder, self.job)
        if not record.over:  # the queue is told, too: those that wait for it do not begin
            raise SweepError(f"{self.job.name}: {record.state}: {record.said}")
        return record.state

    def checkpoint(self) -> Any:
        """Called by submitit, in the job's main thread, when the job must end."""
        import submitit

        sweep = Sweep(Path(self.folder))
        if (process := sweep.record(self.job).alive()) is not None:
            with contextlib.suppress(Exception):
                process.terminate()
                process.wait(GRACE)
        return submitit.helpers.DelayedSubmission(Carried(self.folder, self.job))
