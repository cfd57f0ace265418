"""The parent's view of the environments' worker processes, which are called and ended together."""

import contextlib
import multiprocessing
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from multiprocessing import util
from pathlib import Path
from typing import Any

import numpy as np

from ..environments import EnvironmentLike, draws_observations, graphics_variables, maker_of
from ..errors import InteractionError
from ..workers import Process
from .serving import Failure, serve

_LISTEN = 0.5  # seconds between two looks at whether a wait was interrupted
_GRACE = 2.0  # seconds that a step may still take once it was


class Actor:
    """Environment `index` of a seed in its own process, made from a pickled recipe called `name` in errors."""

    def __init__(
        self,
        environment: bytes,
        name: str,
        *,
        seed: int,
        index: int,
        scratch: Path,
        variables: Mapping[str, str] | None = None,
    ):
        self.name = f"environment {index} of seed {seed} of {name}"
        self.episode = 0
        self.actions: list[np.ndarray] = []
        """The running episode's actions, each (A,)."""
        self._answered = False
        self._connection, other_end = multiprocessing.Pipe()
        self._process = Process(
            scratch=scratch,
            main=b"__main__" in environment,
            variables=variables,
            target=serve,
            args=(other_end, environment, seed, index, scratch),
        )
        self._process.start()
        other_end.close()

    def note(self, action: np.ndarray, *, ended: bool):
        """Record that an action was executed, and whether it ended the episode."""
        if ended:
            self.episode, self.actions = self.episode + 1, []
        else:
            self.actions.append(action)

    def ask(self, method: str, *arguments):
        """Call a method of `Player` in the process; `answer` waits for its result."""
        try:
            self._connection.send((method, *arguments))
        except OSError as error:
            raise InteractionError(self._describe_death()) from error

    def answer(self, *, interrupt: threading.Event | None, patience: float) -> Any:
        """The result of the last call.

        Raises:
            InteractionError: If the call failed or the process died; if there is no answer for `patience` seconds, or
                for two once `interrupt` is set.
        """
        asked = time.monotonic()
        try:
            while not self._connection.poll(_LISTEN):
                waited = time.monotonic() - asked
                if waited > patience:
                    raise InteractionError(
                        f"The {self.name} has not answered for {patience:g} seconds, {self._doing}: look for what "
                        "hangs in it, or give the actors more patience."
                    )
                if interrupt is not None and interrupt.is_set() and waited > _GRACE:
                    raise InteractionError(f"The {self.name} does not answer, {self._doing}, and was interrupted.")
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise InteractionError(self._describe_death()) from error
        if isinstance(answer, Failure):
            raise InteractionError(f"The {self.name} failed {answer.where}. {answer.text}")
        self._answered = True
        return answer

    def end(self):
        """End the process at once."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    @property
    def _doing(self) -> str:
        return f"in step {len(self.actions)} of episode {self.episode}"

    def _describe_death(self) -> str:
        self._process.join()
        code = self._process.exitcode or 0
        cause = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        text = f"The worker process of {self.name} ended {cause} "
        if not self._answered:
            return text + (
                "before it was ready; see its output for the cause. If the environment's class is defined in the "
                "script itself, guard the script with `if __name__ == '__main__':`."
            )
        text += f"{self._doing}. "
        if code == -signal.SIGKILL:
            return text + "The system does this when it runs out of memory: try fewer environments."
        return text + "See its output for the cause."


class Group:
    """One process per environment and seed.

    The first failure ends all of them, and so does Ctrl-C during a wait, because their late answers would be mistaken
    for answers to the next call.
    """

    def __init__(
        self,
        environment: EnvironmentLike,
        *,
        seeds: Sequence[int],
        environments: int,
        interrupt: threading.Event | None = None,
        patience: float = 600.0,
    ):
        self._interrupt, self._patience = interrupt, patience
        maker = maker_of(environment)
        self.name = str(getattr(maker, "name", type(maker).__name__))
        self.actors: list[Actor] = []
        try:
            pickled = pickle.dumps(maker)
        except Exception as error:
            raise InteractionError(
                f"The environment {self.name} cannot be sent to worker processes: {error}. "
                "Pass an object whose class is defined at the top of a module and whose make() returns the environment."
            ) from error
        scratch = tempfile.TemporaryDirectory(prefix="deflow-interaction-")
        self._finalizer = util.Finalize(self, _end, (self.actors, scratch), exitpriority=0)  # for those never closed
        where: dict[str, Any] = {"scratch": Path(scratch.name)}
        where["variables"] = graphics_variables() if draws_observations(maker) else None
        for seed in seeds:
            for index in range(environments):
                self.actors.append(Actor(pickled, self.name, seed=seed, index=index, **where))
        self.ask("start", [(actor is self.actors[0],) for actor in self.actors])

    def ask(self, method: str, arguments: Iterable[tuple]):
        """Call a method of `Player` in every process, each with its own arguments. Returns at once."""
        with self._end_on_failure():
            for actor, own in zip(self.actors, arguments, strict=True):
                actor.ask(method, *own)

    def answers(self) -> list[Any]:
        """The answers of the processes, in order.

        Raises:
            InteractionError: For the first failure.
        """
        with self._end_on_failure():
            return [actor.answer(interrupt=self._interrupt, patience=self._patience) for actor in self.actors]

    def end(self):
        """End the processes and remove their files."""
        self._finalizer()

    @contextlib.contextmanager
    def _end_on_failure(self) -> Iterator[None]:
        if not self._finalizer.still_active():
            raise InteractionError(
                f"The environments {self.name} are closed: create new ones and restore the saved state."
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
