"""One worker process as its parent sees it: what it is asked, what it answers, and what is said when it dies."""

import multiprocessing
import signal
from pathlib import Path
from typing import Any

import numpy as np

from deflow.interaction.errors import InteractionError
from deflow.interaction.worker import Failure, serve
from deflow.spawning import Process


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
        """The result of what was asked. Raises `InteractionError` for a failure there, and for a process that died."""
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
