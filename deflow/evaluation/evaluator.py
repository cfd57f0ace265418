"""Evaluating a policy: its episodes are distributed over worker processes."""

import contextlib
import functools
import math
import pickle
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..environments import EnvironmentLike, ReferenceScores, Rendering, draws_observations, maker_of
from ..errors import EvaluationError, EvaluationInterrupted
from ..progress import Bar
from ..workers import usable_cores
from .exported_policy import Exporter
from .film import Film
from .film_progress import FilmProgress
from .outcome import Outcome
from .pool import EvaluationPool
from .result import Evaluation
from .worker import Look, Sizes, Worker

if TYPE_CHECKING:
    from ..deployment import Policy

MOST_WORKERS = 8
"""Most processes to start by default, because each one takes 0.9 GB for a cube environment."""

PICTURES = 200
"""Pictures of the longest episode, in which one is taken after every step if it is no longer than that."""


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
        renders: bool = False,
    ):
        """Start `workers` (default: one per core) for a task, or for any picklable with `make() -> gymnasium.Env`.

        Workers of which none has made its environment, or ended an episode, for `patience` seconds count as hanging.
        With `at_once` False, they start when they are first needed, and take no memory until then. With `renders` True,
        their environments draw, so that `film` can be called; the results are the same.

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
        self._renders, self._draws = renders, renders or draws_observations(maker)
        try:
            self._environment = pickle.dumps(Rendering(maker) if renders else maker)
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
        return self.summary(self.outcomes(policy, range(episodes), seed=seed, progress=progress, interrupt=interrupt))

    def outcomes(
        self,
        policy: "Callable[..., Any] | Policy",
        numbers: Sequence[int],
        *,
        seed: int,
        progress: bool = False,
        interrupt: threading.Event | None = None,
    ) -> list[Outcome]:
        """The outcomes of these of an evaluation's episodes, counted from 0. Raises as calling the evaluator does."""
        interrupt = interrupt or threading.Event()
        with self._playing(len(numbers), seed):
            sizes = self._ready(interrupt).sizes
            with Bar(total=len(numbers), desc="evaluation", unit="episode", leave=False, disable=not progress) as bar:
                return self._run(Worker.run, policy, sizes, numbers, seed, interrupt, ended=lambda _: bar.update())

    def summary(self, outcomes: Sequence[Outcome]) -> Evaluation:
        """The evaluation that has these outcomes."""
        success, returns, lengths = zip(*outcomes, strict=True)
        return Evaluation(np.array(success), np.array(returns), np.array(lengths), self._reference)

    def film(
        self,
        policy: "Callable[..., Any] | Policy",
        *,
        episodes: int,
        seed: int,
        every: int | None = None,
        progress: bool = False,
        interrupt: threading.Event | None = None,
    ) -> list[Film]:
        """Play the first episodes of the evaluation with this seed, and film them.

        There is a picture of the start, of the state after `every` steps, and of the end. By default, the longest
        episode that is possible gets about 200 pictures. They are kept until the next call, or `close`.

        Raises:
            EvaluationError: If the evaluator was not created with `renders`, the environment does not draw, an episode
                fails or a worker dies.
            EvaluationInterrupted: If `interrupt` is set.
            ValueError: If `episodes` or `every` is less than 1, or `seed` is negative.
        """
        if not self._renders:
            raise EvaluationError(f"This evaluator of {self._name} cannot film: create it with renders=True.")
        if every is not None and every < 1:
            raise ValueError(f"every must be at least 1, got {every}.")
        interrupt = interrupt or threading.Event()
        with self._playing(episodes, seed):
            look = self._ready(interrupt)
            every = every or math.ceil(look.horizon / PICTURES)
            folder = Path(self._scratch.name, "films")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            film = functools.partial(Worker.film, folder=str(folder), every=every)
            with FilmProgress(folder, look, episodes, every, shown=progress) as bar:
                return self._run(
                    film, policy, look.sizes, range(episodes), seed, interrupt, ended=bar.ended, meanwhile=bar.update
                )

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

    @contextlib.contextmanager
    def _playing(self, episodes: int, seed: int) -> Iterator[None]:
        """A context in which episodes are played: workers of which one failed are ended."""
        if self._closed:
            raise EvaluationError(f"This evaluator of {self._name} is closed: create a new one.")
        if episodes < 1 or seed < 0:
            raise ValueError(f"episodes must be at least 1 and seed at least 0, got {episodes} and {seed}.")
        try:
            yield
        except BaseException:  # Ctrl-C too: nothing waits for the remaining results
            self._stop()
            raise

    def _run(
        self,
        method: Callable[..., Any],
        policy: "Callable[..., Any] | Policy",
        sizes: Sizes,
        episodes: Sequence[int],
        seed: int,
        interrupt: threading.Event,
        *,
        ended: Callable[[Any], object],
        meanwhile: Callable[[], None] | None = None,
    ) -> list[Any]:
        """What one of `Worker`'s methods gives for each episode, in order. `ended` gets each as it arrives."""
        pool = self._pool or self._start()
        job = self._exporter(in_unit_box(policy), sizes, seed)
        asked = {pool.submit(method, job, i): f"Episode {i}" for i in episodes}
        given: dict[Any, Any] = {}
        try:
            for future, result in pool.results(
                asked, interrupt=interrupt, patience=self._patience, meanwhile=meanwhile
            ):
                given[future] = result
                ended(result)
        finally:
            Path(job.weights).unlink()
        return [given[future] for future in asked]

    def _ready(self, interrupt: threading.Event) -> Look:
        """What the environment is like, once a worker has made it; at once but for the first time."""
        pool = self._pool or self._start()
        return next(pool.results(self._first, interrupt=interrupt, patience=self._patience))[1]

    def _start(self) -> EvaluationPool:
        """Start the workers, which create their environments while the caller continues."""
        directory = Path(self._scratch.name)
        self._pool = EvaluationPool(
            self._environment, self._name, workers=self._workers, directory=directory, renders=self._draws
        )
        what = "A picture" if self._renders else "The making"
        self._first = {self._pool.submit(Worker.look, self._renders): what for _ in range(self._workers)}
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
    policy = in_unit_box(policy)
    with Evaluator(environment, workers=workers_for(episodes) if workers is None else workers) as evaluator:
        return evaluator(policy, episodes=episodes, seed=seed)


def in_unit_box(policy: "Callable[..., Any] | Policy") -> Callable[..., Any]:
    """What acts in [-1, 1]: a policy's agent, or what was given.

    Raises:
        TypeError: If it cannot be called.
    """
    from ..deployment import Policy  # only here: workers import this module, and need no agents

    if isinstance(policy, Policy):
        return policy.agent
    if not callable(policy):
        what = "learner.agent" if type(policy).__name__ == "Learner" else "policy(observation, *, key) -> action"
        raise TypeError(f"A {type(policy).__name__} is no policy: give {what}.")
    return policy


def workers_for(episodes: int) -> int:
    """Number of processes for so many episodes, of which none idles."""
    return min(usable_cores(), MOST_WORKERS, max(episodes, 1))
