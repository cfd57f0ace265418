"""On a Ray cluster: a task for each job, on whatever node has its cores and GPUs."""

import abc
import concurrent.futures
import dataclasses
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

from ..errors import SweepError
from ..runs import Run
from ..workers.spawning import threads
from .base import AbstractLauncher, register
from .carrying import carry_out
from .job import Job
from .record import Record
from .sweep import Sweep

PATIENCE = 1.0
"""Seconds between two looks at the cluster."""


Judge = Callable[[Sequence[Job]], Mapping[Job, str]]
"""Says which of the jobs that run shall be stopped early, and why."""


@dataclasses.dataclass(frozen=True)
class AbstractRay(AbstractLauncher):
    """Tasks of Ray. One that is killed, or whose node or worker goes, is begun again and goes on from its checkpoint.

    The sweep's folder must be one that all nodes see. Without an address, a cluster of this machine alone is started,
    and ends with the sweep.
    """

    packages: ClassVar[tuple[str, ...]] = ("ray",)
    extra: ClassVar[str | None] = "ray"

    address: str = ""
    """Address of a cluster, such as auto, or ray://host:10001; empty: one of this machine's own."""

    cpus: float = 1.0
    """Cores of a job."""

    gpus: float = 0.0
    """GPUs of a job; a part of one is shared with others."""

    memory: float = 2.0
    """Memory of a job, in gigabytes."""

    retries: int = 3
    """How often a job is begun again that was killed, or whose worker or node went."""

    def check_resources(self) -> None:
        """Looks at these settings.

        Raises:
            SweepError: If one makes no sense.
        """
        if not (self.cpus > 0 and self.memory > 0) or min(self.gpus, self.retries) < 0:
            raise SweepError(
                f"cpus and memory must be positive, gpus and retries not negative, got {self.cpus}, {self.memory}, "
                f"{self.gpus} and {self.retries}."
            )

    @abc.abstractmethod
    def judge(self, sweep: Sweep) -> Judge:
        """What is asked again and again, while jobs run, which of them shall be stopped early."""

    def launch(self, sweep: Sweep, jobs: Sequence[Job], interrupt: threading.Event) -> Iterator[tuple[Job, Record]]:
        import ray

        own = not ray.is_initialized()
        if own:
            self._connect(ray)
        try:
            yield from self._launch(ray, sweep, jobs, interrupt)
        finally:
            if own:
                ray.shutdown()

    def _connect(self, ray: Any) -> None:
        where = {"address": self.address} if self.address else {"include_dashboard": False}
        asked_to_end = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise SweepError(f"No Ray cluster answers at {self.address or 'this machine'}: {error}") from error
        finally:
            if threading.current_thread() is threading.main_thread():  # Ray has its own
                signal.signal(signal.SIGTERM, asked_to_end)

    def _launch(
        self, ray: Any, sweep: Sweep, jobs: Sequence[Job], interrupt: threading.Event
    ) -> Iterator[tuple[Job, Record]]:
        task = ray.remote(_carry_out).options(
            num_cpus=self.cpus, num_gpus=self.gpus, memory=int(self.memory * 1e9), max_retries=self.retries
        )
        judge = self.judge(sweep)
        left, running, asked, poor = list(jobs), dict[Any, Job](), False, dict[Job, str]()
        tries: dict[str, int] = {}
        while left or running:
            for job in [] if interrupt.is_set() else [job for job in left if sweep.ready(job)]:
                left.remove(job)
                cores = max(1, int(self.cpus))
                running[task.remote(str(sweep.folder), job, cores)] = job
            if not running:
                return
            if interrupt.is_set() and not asked:
                asked = True
                for reference in [each for each, job in running.items() if job not in poor]:  # once: Ray repeats it
                    ray.cancel(reference)
            if not interrupt.is_set():
                found = judge([job for job in running.values() if job not in poor])
                for reference in [each for each, job in running.items() if job in found]:
                    ray.cancel(reference)
                poor |= found
            done, _ = ray.wait(list(running), timeout=PATIENCE)
            for reference in done:
                job = running.pop(reference)
                record = _ended(ray, sweep, job, reference)
                tries[job.name] = tries.get(job.name, 0) + 1
                if record.state == "killed" and tries[job.name] <= self.retries and not interrupt.is_set():
                    left.append(job)
                    continue
                if job in poor and record.state == "interrupted":
                    record = _stopped_early(sweep, job, poor[job])
                yield job, record


@register("ray")
@dataclasses.dataclass(frozen=True)
class Ray(AbstractRay):
    """Tasks of Ray, each to its end."""

    def __post_init__(self):
        self.check_resources()

    def judge(self, sweep: Sweep) -> Judge:
        return lambda running: {}


def _carry_out(folder: str, job: Job, cores: int) -> str:
    """What a task does. Cancelled, it saves."""
    interrupt = threading.Event()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        work = pool.submit(carry_out, folder, job, variables=threads(cores), interrupt=interrupt)
        try:
            while not work.done():
                time.sleep(0.5)
        except KeyboardInterrupt:  # how Ray cancels
            interrupt.set()
    return work.result().state


def _ended(ray: Any, sweep: Sweep, job: Job, reference: Any) -> Record:
    """A job's record, after its task is done."""
    try:
        ray.get(reference)
    except ray.exceptions.TaskCancelledError:  # its record says whether it had begun
        return sweep.record(job)
    except Exception as error:  # its worker or node went too often
        record = sweep.record(job)
        if record.over or record.state == "interrupted":
            return record
        said = str(error).strip().splitlines()[-1]
        return dataclasses.replace(record, state="killed", said=said, process=None).write(sweep.place(job))
    return sweep.record(job)


def _stopped_early(sweep: Sweep, job: Job, why: str) -> Record:
    """The record of a job that has saved and ended since it was asked to."""
    saved = [step for path in sweep.runs(job) for step in Run.open(path).checkpoints.steps()[-1:]]
    where = f"At step {min(saved):,}: " if saved else ""
    said = f"{where}{why}"
    return dataclasses.replace(sweep.record(job), state="stopped early", said=said).write(sweep.place(job))
