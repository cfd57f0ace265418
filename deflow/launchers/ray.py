"""On a Ray cluster: a task for each job, on whatever node has its cores and GPUs."""

import concurrent.futures
import dataclasses
import logging
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from ..errors import SweepError
from ..workers.spawning import threads
from .base import AbstractLauncher, register
from .carrying import carry_out
from .job import Job
from .record import Record
from .sweep import Sweep

PATIENCE = 1.0
"""Seconds between two looks at the cluster."""


@register("ray")
@dataclasses.dataclass(frozen=True)
class Ray(AbstractLauncher):
    """Tasks of Ray. One whose node or worker goes is begun again elsewhere, and goes on from its checkpoint.

    The sweep's folder must be one that all nodes see. Without an address, a cluster of this machine alone is started,
    and ends with the sweep.
    """

    package: ClassVar[str | None] = "ray"
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
    """How often a job is begun again whose worker or node went."""

    def __post_init__(self):
        if not (self.cpus > 0 and self.memory > 0) or min(self.gpus, self.retries) < 0:
            raise SweepError(
                f"cpus and memory must be positive, gpus and retries not negative, got {self.cpus}, {self.memory}, "
                f"{self.gpus} and {self.retries}."
            )

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
        left, running, asked = list(jobs), dict[Any, Job](), False
        while left or running:
            for job in [] if interrupt.is_set() else [job for job in left if sweep.ready(job)]:
                left.remove(job)
                cores = max(1, int(self.cpus))
                running[task.remote(str(sweep.folder), job, cores)] = job
            if not running:
                return
            if interrupt.is_set() and not asked:
                asked = True
                for reference in running:
                    ray.cancel(reference)
            done, _ = ray.wait(list(running), timeout=PATIENCE)
            for reference in done:
                job = running.pop(reference)
                yield job, _ended(ray, sweep, job, reference)


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
    except Exception as error:  # its worker or node went too often, or it was cancelled
        record = sweep.record(job)
        if record.over or record.state == "interrupted":
            return record
        said = str(error).strip().splitlines()[-1]
        return dataclasses.replace(record, state="killed", said=said, process=None).write(sweep.place(job))
    return sweep.record(job)
