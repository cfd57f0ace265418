"""Worker processes that persist between evaluations, and the error message when one of them dies."""

import concurrent.futures
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..errors import EvaluationError
from ..workers import BrokenProcessPool, Process, WorkerPool
from .worker import Failure, call, start


class EvaluationPool:
    """Processes that run `Worker`'s methods on one pickled environment, called `name` in errors."""

    def __init__(self, environment: bytes, name: str, *, workers: int, directory: Path):
        self._name = name
        self._directory = directory
        self._pool = WorkerPool(
            workers,
            start=start,
            arguments=(environment, str(directory)),
            main=b"__main__" in environment,
            scratch=directory,
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

    def results(self, asked: dict[concurrent.futures.Future, str]) -> Iterator[tuple[concurrent.futures.Future, Any]]:
        """The futures and their results as they arrive; `asked` has a description of each.

        Raises:
            EvaluationError: If something failed inside a worker, or a worker died.
        """
        for future in concurrent.futures.as_completed(asked):
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
