"""Worker processes that persist between evaluations, and the error message when one of them dies."""

import concurrent.futures
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..environments import graphics_variables
from ..errors import EvaluationError, EvaluationInterrupted
from ..workers import BrokenProcessPool, Process, WorkerPool
from .worker import Failure, call, start

_LISTEN = 0.5  # seconds between two looks at whether the wait was interrupted


class EvaluationPool:
    """Processes that run `Worker`'s methods on one pickled environment, called `name` in errors. If they `render`, they
    have what MuJoCo draws with."""

    def __init__(self, environment: bytes, name: str, *, workers: int, directory: Path, renders: bool = False):
        self._name = name
        self._directory = directory
        self._pool = WorkerPool(
            workers,
            start=start,
            arguments=(environment, str(directory)),
            main=b"__main__" in environment,
            scratch=directory,
            variables=graphics_variables() if renders else None,
        )

    def submit(self, method: Callable, *arguments) -> concurrent.futures.Future:
        """Submit a call of one of `Worker`'s methods, to be run by the next free process.

        Raises:
            EvaluationError: If a worker has died before.
        """
        try:
            return self._pool.submit(call, method, *arguments)
        except BrokenProcessPool as error:
            raise EvaluationError(self._describe_deaths()) from error

    def results(
        self,
        asked: dict[concurrent.futures.Future, str],
        *,
        interrupt: threading.Event,
        patience: float,
        meanwhile: Callable[[], None] | None = None,
    ) -> Iterator[tuple[concurrent.futures.Future, Any]]:
        """The futures and their results as they arrive; `asked` has a description of each. `meanwhile` is called at
        least twice a second.

        Raises:
            EvaluationError: If something failed inside a worker, a worker died, or nothing arrived for `patience`
                seconds.
            EvaluationInterrupted: Within a second after `interrupt` is set.
        """
        pending, heard = set(asked), time.monotonic()
        while pending:
            if interrupt.is_set():
                raise EvaluationInterrupted(f"The evaluation of {self._name} was interrupted.")
            if meanwhile is not None:
                meanwhile()
            done, pending = concurrent.futures.wait(pending, _LISTEN, concurrent.futures.FIRST_COMPLETED)
            if done:
                heard = time.monotonic()
            elif time.monotonic() - heard > patience:
                waiting = ", ".join(sorted(asked[future] for future in pending if future.running()))
                raise EvaluationError(
                    f"The workers of {self._name} have not answered for {patience:g} seconds "
                    f"({waiting or 'none runs'}): look for what hangs in the environment, or give the evaluator more "
                    "patience."
                )
            for future in done:
                try:
                    result = future.result()
                except BrokenProcessPool as error:
                    raise EvaluationError(self._describe_deaths()) from error
                if isinstance(result, Failure):
                    raise EvaluationError(f"{asked[future]} of {self._name} failed. {result.text}")
                yield future, result

    def kill(self):
        """End all processes at once."""
        self._pool.kill()

    def _describe_deaths(self) -> str:
        """Which processes died, why, and what they were running."""
        return "\n".join(map(self._describe_death, self._pool.dead()))

    def _describe_death(self, process: Process) -> str:
        code = process.exitcode or 0
        cause = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        note = self._directory / f"worker-{process.pid}"
        if not note.exists():
            return (
                f"A worker process of {self._name} ended {cause} before it was ready; see its output for the cause. If "
                "the environment's class is defined in the script itself, guard the script with "
                "`if __name__ == '__main__':`."
            )
        episode, _, native = note.read_text().partition("\n")
        what = f"while it ran episode {episode}" if episode.isdigit() else "between episodes"
        text = f"A worker process ended {cause} {what} of {self._name}. "
        if code == -signal.SIGKILL:
            text += "The system does this when it runs out of memory: try fewer workers. "
        return text + (f"Its traceback:\n{native.rstrip()}" if native.strip() else "It left no traceback.")
