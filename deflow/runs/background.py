"""Work beside training: one job at a time, and nothing that goes wrong in it ends the training."""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator

from deflow.runs.errors import RunWarning, first_line


class Background:
    """Runs jobs in a thread. What fails is said in a `RunWarning`, remembered in `failures`, and never raised.

    A thread lives as long as its job, so a program that ends waits for no more than that. `wait` before the end:
    Python takes from its threads what they need (executors) when the main one is done.
    """

    def __init__(self, state_of_things: Callable[[], str]):
        self.failures: list[str] = []
        """What was said, in order."""
        self._state_of_things = state_of_things
        self._thread: threading.Thread | None = None

    def start(self, what: str, job: Callable[[], None]) -> None:
        """Run `job` in the thread once the one before has ended; `what` begins the sentence said where it raises."""
        self.wait()
        self._thread = threading.Thread(target=self._run, args=(what, job), name="deflow-save")
        self._thread.start()

    @contextlib.contextmanager
    def guard(self, what: str) -> Iterator[None]:
        """Within, what raises is said and remembered as well: no memory, no threads, a state that cannot be saved."""
        try:
            yield
        except Exception as error:
            self.fail(f"{what}: {first_line(error)}")

    def fail(self, reason: str) -> None:
        """Say and remember why something failed."""
        sentence = f"{reason.rstrip('.')}; training goes on, and {self._state_of_things()}."
        self.failures.append(sentence)
        with contextlib.suppress(RunWarning):  # with `python -W error` it would end what it reports on
            warnings.warn(sentence, RunWarning, stacklevel=2)

    def wait(self) -> None:
        """Wait until nothing runs."""
        if self._thread is not None and self._thread.ident is not None:
            self._thread.join()

    def _run(self, what: str, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:  # a thread's exceptions reach nobody else
            self.fail(f"{what}: {type(error).__name__}: {first_line(error)}")
