"""Worker processes that outlive an evaluation, and what is said when one of them dies."""

import concurrent.futures
import signal
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from deflow.evaluation import worker
from deflow.evaluation.errors import EvaluationError
from deflow.spawning import Context, Process


class Pool:
    """Processes that run `Worker`'s methods on one pickled environment, called `name` in errors."""

    def __init__(self, environment: bytes, name: str, *, workers: int, directory: Path):
        self._name = name
        self._directory = directory
        self._context = Context(scratch=directory, main=b"__main__" in environment)
        self._executor = concurrent.futures.ProcessPoolExecutor(
            workers, self._context, worker.start, (environment, str(directory))
        )

    def submit(self, method: Callable, *arguments) -> concurrent.futures.Future:
        """Ask for one of `Worker`'s methods, to be run by whichever process is free.

        Raises `EvaluationError` when a worker has died before.
        """
        try:
            return self._executor.submit(worker.call, method, *arguments)
        except BrokenProcessPool as error:
            raise EvaluationError(self._epitaph()) from error

    def results(self, asked: dict[concurrent.futures.Future, str]) -> Iterator[tuple[concurrent.futures.Future, Any]]:
        """The futures and their results as they arrive; `asked` says what each of them is.

        Raises `EvaluationError` for a failure inside a worker, and for a worker that died.
        """
        for future in concurrent.futures.as_completed(asked):
            try:
                result = future.result()
            except BrokenProcessPool as error:
                raise EvaluationError(self._epitaph()) from error
            if isinstance(result, worker.Failure):
                raise EvaluationError(f"{asked[future]} of {self._name} failed. {result.text}")
            yield future, result

    def kill(self):
        """End all processes now, whatever they run."""
        for process in self._context.processes:
            process.kill()
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _epitaph(self) -> str:
        """Which processes died, of what, and what they ran."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        ended = [process for process in self._context.processes if process.exitcode]
        victims = [process for process in ended if process.exitcode != -signal.SIGTERM]  # the executor ends the rest
        return "\n".join(self._describe(process) for process in victims or ended)

    def _describe(self, process: Process) -> str:
        code = process.exitcode or 0
        cause = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        note = self._directory / f"worker-{process.pid}"
        if not note.exists():
            return (
                f"A worker process of {self._name} ended {cause} before it was ready; what it printed says why. If the "
                "environment's class is defined in the script itself, put its work under `if __name__ == '__main__':`."
            )
        episode, _, native = note.read_text().partition("\n")
        what = f"while it ran episode {episode}" if episode.isdigit() else "between episodes"
        text = f"A worker process ended {cause} {what} of {self._name}. "
        if code == -signal.SIGKILL:
            text += "The system does this when memory runs out: try fewer workers. "
        return text + (f"Its last words:\n{native.rstrip()}" if native.strip() else "It left no traceback.")
