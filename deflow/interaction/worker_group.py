"""The worker processes of the environments, as their parent sees them: asked together, ended together."""

import contextlib
import multiprocessing
import pickle
import signal
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import util
from pathlib import Path
from typing import Any

import numpy as np

from ..environments import EnvironmentLike, maker_of
from ..errors import InteractionError
from ..workers import Process
from .serving import Failure, serve


class Actor:
    """Environment `index` of a seed, made from a pickled recipe called `name` in errors, in a process of its own."""

    def __init__(self, environment: bytes, name: str, *, seed: int, index: int, scratch: Path):
        self.name = f"environment {index} of seed {seed} of {name}"
        self.episode = 0
        self.actions: list[np.ndarray] = []
        """The running episode's actions, each (A,)."""
        self._answered = False
        self._connection, other_end = multiprocessing.Pipe()
        self._process = Process(
            scratch=scratch,
            main=b"__main__" in environment,
            target=serve,
            args=(other_end, environment, seed, index, scratch),
        )
        self._process.start()
        other_end.close()

    def note(self, action: np.ndarray, *, ended: bool):
        """Note that an action was executed, and whether the episode ended with it."""
        if ended:
            self.episode, self.actions = self.episode + 1, []
        else:
            self.actions.append(action)

    def ask(self, method: str, *arguments):
        """Call a method of `Player` in the process; `answer` waits for its result."""
        try:
            self._connection.send((method, *arguments))
        except OSError as error:
            raise InteractionError(self._epitaph()) from error

    def answer(self) -> Any:
        """The result of what was asked.

        Raises:
            InteractionError: For a failure there, and for a process that died.
        """
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise InteractionError(self._epitaph()) from error
        if isinstance(answer, Failure):
            raise InteractionError(f"The {self.name} failed {answer.where}. {answer.text}")
        self._answered = True
        return answer

    def end(self):
        """End the process now, whatever it does."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def _epitaph(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        cause = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        text = f"The worker process of {self.name} ended {cause} "
        if not self._answered:
            return text + (
                "before it was ready; what it printed says why. If the environment's class is defined in the script "
                "itself, put its work under `if __name__ == '__main__':`."
            )
        text += f"in step {len(self.actions)} of episode {self.episode}. "
        if code == -signal.SIGKILL:
            return text + "The system does this when memory runs out: try fewer environments."
        return text + "What it printed says why."


class Group:
    """One process for each of so many environments of each seed. The first failure ends them all, and so does Ctrl-C
    while they are waited for, since what they still say would be taken for answers to the next question."""

    def __init__(self, environment: EnvironmentLike, *, seeds: Sequence[int], environments: int):
        maker = maker_of(environment)
        self.name = str(getattr(maker, "name", type(maker).__name__))
        self.actors: list[Actor] = []
        try:
            pickled = pickle.dumps(maker)
        except Exception as error:
            raise InteractionError(
                f"The environment {self.name} cannot be sent to worker processes: {error}. "
                "Use an object of a class defined at the top of a module, whose make() returns the environment."
            ) from error
        scratch = tempfile.TemporaryDirectory(prefix="deflow-interaction-")
        self._finalizer = util.Finalize(self, _end, (self.actors, scratch), exitpriority=0)  # for those never closed
        for seed in seeds:
            for index in range(environments):
                self.actors.append(Actor(pickled, self.name, seed=seed, index=index, scratch=Path(scratch.name)))
        self.ask("start", [(actor is self.actors[0],) for actor in self.actors])

    def ask(self, method: str, arguments: Iterable[tuple]):
        """Call a method of `Player` in every process, each with its own arguments; returns at once."""
        with self._end_on_failure():
            for actor, own in zip(self.actors, arguments, strict=True):
                actor.ask(method, *own)

    def answers(self) -> list[Any]:
        """What the processes answer, in their order.

        Raises:
            InteractionError: For the first failure.
        """
        with self._end_on_failure():
            return [actor.answer() for actor in self.actors]

    def end(self):
        """End the processes and remove their files."""
        self._finalizer()

    @contextlib.contextmanager
    def _end_on_failure(self) -> Iterator[None]:
        if not self._finalizer.still_active():
            raise InteractionError(
                f"The environments {self.name} are closed. Make others, and restore the state that was saved."
            )
        try:
            yield
        except BaseException:
            self.end()
            raise


def _end(actors: list[Actor], scratch: tempfile.TemporaryDirectory):
    for actor in actors:
        actor.end()
    scratch.cleanup()
