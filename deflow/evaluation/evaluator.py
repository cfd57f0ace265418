"""Evaluating a policy: its episodes are distributed over worker processes."""

import pickle
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..environments import EnvironmentLike, ReferenceScores, maker_of
from ..errors import EvaluationError, EvaluationInterrupted
from ..progress import Bar
from ..workers import usable_cores
from .exported_policy import Exporter
from .pool import EvaluationPool
from .result import Evaluation
from .worker import Outcome, Sizes, Worker

if TYPE_CHECKING:
    from ..deployment import Policy

MOST_WORKERS = 8
"""Most processes to start by default, because each one takes 0.9 GB for a cube environment."""


class Evaluator:
    """Worker processes that evaluate policies in one environment, kept alive until `close` or the end of `with`.

    They start in the background, at once unless told otherwise. Evaluating again with new weights needs no restart and
    no compilation.
    """

    def __init__(
        self,
        environment: EnvironmentLike,
        *,
        workers: int | None = None,
        patience: float = 3600.0,
        at_once: bool = True,
    ):
        """Start `workers` (default: one per core) for a task, or for any picklable with `make() -> gymnasium.Env`.

        Workers of which none has made its environment, or ended an episode, for `patience` seconds count as hanging.
        With `at_once` False, they start when they are first needed, and take no memory until then.

        Raises:
            EvaluationError: For an environment that cannot be sent to another process.
            ValueError: If `workers` is less than 1.
        """
        maker = maker_of(environment)
        self._workers = min(usable_cores(), MOST_WORKERS) if workers is None else workers
        if self._workers < 1:
            raise ValueError(f"workers must be at least 1, got {workers}. Leave it out to use every core.")
        reference = getattr(maker, "reference", None)
        self._reference = reference if isinstance(reference, ReferenceScores) else None
        self._name = str(getattr(maker, "name", type(maker).__name__))
        try:
            self._environment = pickle.dumps(maker)
        except Exception as error:
            raise EvaluationError(
                f"The environment {self._name} cannot be sent to worker processes: {error}. "
                "Pass an object whose class is defined at the top of a module and whose make() returns the environment."
            ) from error
        self._patience = patience
        self._scratch = tempfile.TemporaryDirectory(prefix="deflow-evaluation-")
        self._exporter = Exporter(Path(self._scratch.name))
        self._pool: EvaluationPool | None = None
        self._closed = False
        if at_once:
            self._start()

    def __call__(
        self,
        policy: "Callable[..., Any] | Policy",
        *,
        episodes: int,
        seed: int,
        progress: bool = False,
        interrupt: threading.Event | None = None,
    ) -> Evaluation:
        """Run `policy(observation, *, key) -> action`, with actions in [-1, 1], or the agent of a `deflow.Policy`, for
        this many episodes, each with its own seeds.

        The result is the same for any number of workers.

        Raises:
            EvaluationError: If an episode fails or a worker dies. The next call starts new workers.
            EvaluationInterrupted: If `interrupt` is set.
            ValueError: If `episodes` is less than 1 or `seed` is negative.
        """
        if self._closed:
            raise EvaluationError(f"This evaluator of {self._name} is closed: create a new one.")
        if episodes < 1 or seed < 0:
            raise ValueError(f"episodes must be at least 1 and seed at least 0, got {episodes} and {seed}.")
        policy = _in_unit_box(policy)
        try:
            outcomes = self._run(policy, episodes, seed, progress, interrupt or threading.Event())
        except BaseException:  # Ctrl-C too: nothing waits for the remaining results
            self._stop()
            raise
        success, returns, lengths = zip(*outcomes, strict=True)
        return Evaluation(np.array(success), np.array(returns), np.array(lengths), self._reference)

    def check(self, interrupt: threading.Event | None = None) -> None:
        """Wait until a worker has made the environment, so that faults in it are known before training; or until
        `interrupt` is set.

        Raises:
            EvaluationError: If it cannot be made in a worker, or no policy fits it.
        """
        try:
            self._ready(interrupt or threading.Event())
        except EvaluationInterrupted:
            return
        except BaseException:
            self._stop()
            raise

    def close(self) -> None:
        """End the workers and remove their files."""
        self._closed = True
        self._stop()
        self._scratch.cleanup()

    def __enter__(self) -> "Evaluator":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(
        self, policy: Callable[..., Any], episodes: int, seed: int, progress: bool, interrupt: threading.Event
    ) -> list[Outcome]:
        sizes = self._ready(interrupt)
        pool = self._pool or self._start()
        job = self._exporter(policy, sizes, seed)
        asked = {pool.submit(Worker.run, job, i): f"Episode {i}" for i in range(episodes)}
        order = {future: i for i, future in enumerate(asked)}
        outcomes: dict[int, Outcome] = {}
        try:
            with Bar(total=episodes, desc="evaluation", unit="episode", leave=False, disable=not progress) as bar:
                for future, outcome in pool.results(asked, interrupt=interrupt, patience=self._patience):
                    outcomes[order[future]] = outcome
                    bar.update()
        finally:
            Path(job.weights).unlink()
        return [outcomes[i] for i in range(episodes)]

    def _ready(self, interrupt: threading.Event) -> Sizes:
        """The environment's sizes, once a worker has made it; at once but for the first time."""
        pool = self._pool or self._start()
        return next(pool.results(self._first, interrupt=interrupt, patience=self._patience))[1]

    def _start(self) -> EvaluationPool:
        """Start the workers, which create their environments while the caller continues."""
        directory = Path(self._scratch.name)
        self._pool = EvaluationPool(self._environment, self._name, workers=self._workers, directory=directory)
        self._first = {self._pool.submit(Worker.sizes): "The making" for _ in range(self._workers)}
        return self._pool

    def _stop(self):
        if self._pool is not None:
            self._pool.kill()
            self._pool = None


def evaluate(
    policy: "Callable[..., Any] | Policy",
    environment: EnvironmentLike,
    *,
    episodes: int = 50,
    seed: int = 0,
    workers: int | None = None,
) -> Evaluation:
    """Evaluate once. To evaluate repeatedly, use `Evaluator`, which keeps its workers.

    Raises:
        TypeError: If the policy cannot be called.
        EvaluationError: If an episode fails or a worker dies.
    """
    policy = _in_unit_box(policy)
    if not callable(policy):
        what = "learner.agent" if type(policy).__name__ == "Learner" else "policy(observation, *, key) -> action"
        raise TypeError(f"A {type(policy).__name__} is no policy: give {what}.")
    workers = min(usable_cores(), MOST_WORKERS, max(episodes, 1)) if workers is None else workers
    with Evaluator(environment, workers=workers) as evaluator:
        return evaluator(policy, episodes=episodes, seed=seed)


def _in_unit_box(policy: "Callable[..., Any] | Policy") -> Callable[..., Any]:
    """What acts in [-1, 1]: a policy's agent, or what was given."""
    from ..deployment import Policy  # only here: workers import this module, and need no agents

    return policy.agent if isinstance(policy, Policy) else policy
