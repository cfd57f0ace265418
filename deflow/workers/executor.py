"""A pool of processes that run jobs, used for collection, evaluation and nearest neighbours."""

import concurrent.futures
import signal
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, Self

from .spawning import Context, Process, end_with_parent


class WorkerPool:
    """New processes with one thread each, which run jobs until `close`, `kill`, or the end of `with`.

    They start when the first job is submitted. An error inside `with`, including Ctrl-C, ends them at once.
    """

    def __init__(
        self,
        workers: int,
        *,
        start: Callable[..., None] | None = None,
        arguments: tuple = (),
        main: bool = False,
        scratch: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ):
        """`start(*arguments)` runs first in each process. `main` says whether jobs need the parent's script. Temporary
        files go to `scratch`, which is removed if the parent is killed; by default the pool creates its own folder.
        The processes have these environment `variables` from their start.
        """
        self._own = tempfile.TemporaryDirectory(prefix="deflow-workers-") if scratch is None else None
        folder = scratch or Path(self._own.name)  # pyright: ignore[reportOptionalMemberAccess]
        self._context = Context(scratch=folder, main=main, variables=variables)
        self._executor = concurrent.futures.ProcessPoolExecutor(
            workers, self._context, _start, (folder, start, arguments)
        )

    def submit(self, job: Callable, *arguments: Any) -> concurrent.futures.Future:
        """Submit a job, to be done by the next free process.

        Raises:
            BrokenProcessPool: If a process has died.
        """
        return self._executor.submit(job, *arguments)

    def map(self, job: Callable, values: Any, *, chunksize: int = 1) -> Any:
        """The job's result for each value, in order."""
        return self._executor.map(job, values, chunksize=chunksize)

    def dead(self) -> list[Process]:
        """The processes that died, once the pool is broken: those that ended by themselves, if there are any."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        ended = [process for process in self._context.processes if process.exitcode]
        # The executor ends the others by SIGTERM.
        return [process for process in ended if process.exitcode != -signal.SIGTERM] or ended

    def kill(self) -> None:
        """End all processes at once and remove their temporary files."""
        for process in self._context.processes:
            process.kill()
        self.close()

    def close(self) -> None:
        """Wait for the submitted jobs, then end the processes and remove their temporary files."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        if self._own is not None:
            self._own.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close() if kind is None else self.kill()


def _start(scratch: Path, start: Callable[..., None] | None, arguments: tuple) -> None:
    end_with_parent(scratch)
    if start is not None:
        start(*arguments)


__all__ = ["BrokenProcessPool", "WorkerPool"]
