"""Worker processes that are asked and waited for together, and end together."""

import contextlib
import pickle
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import util
from pathlib import Path
from typing import Any

from deflow.interaction.actor import Actor
from deflow.interaction.errors import InteractionError


class Group:
    """One process for each of so many environments of each seed. The first failure ends them all, and so does Ctrl-C
    while they are waited for, since what they still say would be taken for answers to the next question."""

    def __init__(self, environment, *, seeds: Sequence[int], environments: int):
        environment = getattr(environment, "environment", environment)
        self.name = str(getattr(environment, "name", type(environment).__name__))
        self.actors: list[Actor] = []
        try:
            pickled = pickle.dumps(environment)
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
        """What the processes answer, in their order. Raises `InteractionError` for the first failure."""
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
