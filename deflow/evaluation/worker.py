"""The worker process: it runs episodes of one environment and reports failures as plain text."""

import faulthandler
import functools
import math
import os
import pickle
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import IO, NamedTuple

import gymnasium
import jax
import jax.export
import numpy as np

from ..environments import DEFAULT_HORIZON, seeded_reset, step_success
from ..errors import EvaluationError
from .film import Camera, Film, taken
from .outcome import Moment, Outcome

KEY_WORDS = 2
"""32-bit words of a threefry key."""


MOST_PROGRAMS = 4
"""Compiled policies that a worker keeps, since policies traced from closures differ at every call."""


MOST_STEPS = 100_000
"""Steps after which an episode counts as one that never ends."""


class Sizes(NamedTuple):
    """The sizes that a policy must fit: those of the environment's observations and actions."""

    observation_shape: tuple[int, ...]
    observation_dtype: str
    action_size: int


class Look(NamedTuple):
    """What a first look at an environment shows: its sizes; if it draws, also the steps of its longest episode and
    the bytes of a picture."""

    sizes: Sizes
    horizon: int
    picture: int


class Job(NamedTuple):
    """A policy to run: two files in the evaluator's directory, and the evaluation's seed."""

    program: str
    weights: str
    seed: int


def read_sizes(environment: gymnasium.Env) -> Sizes:
    """The sizes of an environment, after a check that its actions are one vector in [-1, 1].

    Raises:
        EvaluationError: For other spaces.
    """
    observations, actions = environment.observation_space, environment.action_space
    if not isinstance(observations, gymnasium.spaces.Box):
        raise EvaluationError(
            f"Observations must be a single array, got the space {observations}. Wrap the environment, for example in "
            "gymnasium.wrappers.FlattenObservation."
        )
    if not isinstance(actions, gymnasium.spaces.Box) or len(actions.shape) != 1:
        raise EvaluationError(
            f"Actions must be one continuous vector, got the space {actions}. Use another environment."
        )
    if not (np.all(actions.low == -1.0) and np.all(actions.high == 1.0)):
        raise EvaluationError(
            f"Actions must lie in [-1, 1], got the space {actions}. Wrap the environment in "
            "gymnasium.wrappers.RescaleAction(environment, -1.0, 1.0)."
        )
    dtype = "uint8" if observations.dtype == np.uint8 else "float32"
    return Sizes(tuple(observations.shape), dtype, actions.shape[0])


class Worker:
    """The state of one process between episodes."""

    def __init__(self, environment: bytes, note: IO[str]):
        self._pickled = environment
        self._note = note
        self._programs = {}
        self._weights = ("", [])

    def look(self, draws: bool) -> Look:
        """What the environment is like. Creates it, and draws it once if it `draws`."""
        environment, sizes = self._made
        if not draws:
            return Look(sizes, 0, 0)
        environment.reset(seed=0)
        horizon = environment.spec.max_episode_steps if environment.spec is not None else None
        return Look(sizes, horizon or DEFAULT_HORIZON, taken(environment).size)

    def film(self, job: Job, episode: int, *, folder: str, every: int) -> Film:
        """Run one episode, exactly as `run` does, and film it into a file in the folder."""
        with Camera(self._made[0], Path(folder, str(episode)), every) as camera:
            return camera.film(episode, self.run(job, episode, camera))

    def run(self, job: Job, episode: int, watch: Callable[[Moment], None] | None = None) -> Outcome:
        """Run one episode. Its randomness depends only on the job's seed and the episode's number.

        `watch` is called after its reset, and after each of its steps.
        """
        self.write_note(f"{episode}\n")
        environment, sizes = self._made
        act, weights = self._load(job)
        numpy_seed, reset_seed, *key = np.random.SeedSequence((job.seed, episode)).generate_state(2 + KEY_WORDS)
        observation = seeded_reset(environment, int(numpy_seed), int(reset_seed))
        key = jax.device_put(np.array(key, np.uint32))
        success, total, step, done = np.nan, 0.0, 0, False
        if watch is not None:
            watch(Moment(success, total, step, done))
        waiting: list[np.ndarray] = []  # actions that were chosen together, to be executed one after another
        while not done:
            if step == MOST_STEPS:
                raise EvaluationError(
                    f"The episode has not ended after {MOST_STEPS:,} steps: make() should return an environment with a "
                    "time limit, such as gymnasium.wrappers.TimeLimit(environment, 1000)."
                )
            observation = np.asarray(observation, sizes.observation_dtype)
            if not np.isfinite(observation).all():
                raise EvaluationError(
                    f"The environment gave an observation that is not finite in float32 before step {step}: "
                    "look for what it computes there, or for numbers that need scaling."
                )
            if not waiting:
                actions = np.asarray(act(weights, observation, key, np.uint32(step)), np.float32)
                if not np.isfinite(actions).all():
                    raise EvaluationError(
                        f"The policy returned {actions} at step {step}, which is not finite. "
                        "Look for nan in its weights: training may have diverged."
                    )
                waiting = list(np.clip(np.atleast_2d(actions), -1.0, 1.0))
            action = waiting.pop(0)
            observation, reward, terminated, truncated, info = environment.step(action)
            if not math.isfinite(reward := float(reward)):
                raise EvaluationError(
                    f"The environment gave the reward {reward} at step {step}: look for what it computes there."
                )
            total += reward
            step += 1
            done = bool(terminated or truncated)
            success = np.fmax(success, step_success(info))
            if watch is not None:
                watch(Moment(float(success), total, step, done))
        self.write_note("")
        return Outcome(float(success), total, step)

    def write_note(self, text: str):
        """Write what is running into the file to which a crash appends its native traceback."""
        self._note.seek(0)
        self._note.truncate()
        self._note.write(text)
        self._note.flush()

    @functools.cached_property
    def _made(self) -> tuple[gymnasium.Env, Sizes]:
        environment = pickle.loads(self._pickled).make()
        return environment, read_sizes(environment)

    def _load(self, job: Job):
        """The job's compiled program and its arrays on the device. Each file is read once."""
        if job.program not in self._programs:
            if len(self._programs) == MOST_PROGRAMS:
                del self._programs[next(iter(self._programs))]
            wide, program = pickle.loads(Path(job.program).read_bytes())
            self._programs[job.program] = (wide, jax.jit(jax.export.deserialize(bytearray(program)).call))
        wide, act = self._programs[job.program]
        if job.weights != self._weights[0]:
            jax.config.update("jax_enable_x64", wide)
            self._weights = (job.weights, jax.device_put(pickle.loads(Path(job.weights).read_bytes())))
        return act, self._weights[1]


_worker: Worker | None = None


class Failure(NamedTuple):
    """An exception as text, since not every exception can be sent between processes."""

    text: str


def start(environment: bytes, directory: str):
    """Set up a new process that evaluates in a pickled environment."""
    global _worker
    warnings.simplefilter("ignore")  # the same ones from every worker would bury the training's own output
    note = open(Path(directory, f"worker-{os.getpid()}"), "w")  # noqa: SIM115 (open for life)
    faulthandler.enable(note)
    _worker = Worker(environment, note)


def call(method: Callable, *arguments):
    """The result of one of `Worker`'s methods on this process's worker, or a `Failure`."""
    try:
        return method(_worker, *arguments)
    except EvaluationError as error:
        return Failure(str(error))
    except BaseException:
        return Failure(f"The worker's traceback:\n{traceback.format_exc().rstrip()}")
