"""One environment in its process. Every episode has its own seeds and begins when the previous one ends."""

import pickle
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from ..environments import seeded_reset, step_success
from ..errors import InteractionError

PROBE_STEPS = 10
"""Number of steps that are played twice to see whether the environment is reproducible."""


TAG = int.from_bytes(b"play")
"""Distinguishes these episodes' seeds from those of evaluation and collection."""


class Ready(NamedTuple):
    """What is known once the environment exists and its first episode has begun."""

    observation: np.ndarray
    action_size: int
    repeatable: bool


class Outcome(NamedTuple):
    """The result of one action. The episode's summary is nan while the episode continues."""

    observation: np.ndarray
    """The observation for the next action: that of the next episode if this one ended."""

    reward: np.float32
    next_observation: np.ndarray
    terminated: bool
    truncated: bool
    success: np.float32
    episode_return: float
    episode_length: float
    episode_success: float


class Player:
    """A pickled environment, made by `start`, and its running episode."""

    def __init__(self, environment: bytes, seed: int, index: int):
        self._pickled, self._seed, self._index = environment, seed, index
        self.where = "before its first episode"
        """What is happening, for error messages."""

    def start(self, probe: bool) -> Ready:
        """Make the environment and begin episode 0. With `probe`, test whether episodes are reproducible."""
        self._environment: gymnasium.Env[np.ndarray, np.ndarray] = pickle.loads(self._pickled).make()
        size = _action_size(self._environment)
        self._dtype = np.uint8 if self._environment.observation_space.dtype == np.uint8 else np.float32
        repeatable = probe and self._fingerprint(size) == self._fingerprint(size)
        return Ready(self.begin(0), size, repeatable)

    def begin(self, episode: int) -> np.ndarray:
        """Begin an episode. Its randomness depends only on the seed, the environment's index and its own number."""
        self.where = f"at the beginning of episode {episode}"
        self._episode, self._length, self._return, self._success = episode, 0, 0.0, np.nan
        seeds = episode_seeds(self._seed, self._index, episode)
        return self._finite("observation", seeded_reset(self._environment, *seeds))

    def step(self, action: np.ndarray) -> Outcome:
        """One step with an action (A,). If it ends the episode, the next one begins."""
        self.where = f"in step {self._length} of episode {self._episode}"
        following, reward, terminated, truncated, info = self._environment.step(action)
        following, reward = self._finite("observation", following), float(self._finite("reward", reward))
        success = step_success(info)
        self._length += 1
        self._return += reward
        self._success = float(np.fmax(self._success, success))
        ended = bool(terminated or truncated)
        summary = (self._return, float(self._length), self._success) if ended else (np.nan, np.nan, np.nan)
        observation = self.begin(self._episode + 1) if ended else following
        return Outcome(
            observation,
            np.float32(reward),
            following,
            bool(terminated),
            bool(truncated),
            np.float32(success),
            *summary,
        )

    def replay(self, episode: int, actions: np.ndarray) -> np.ndarray:
        """The observation after an episode's first actions (T, A)."""
        observation = self.begin(episode)
        for action in actions:
            observation = self.step(action).observation
        if self._episode != episode:
            raise InteractionError(f"It ended within {len(actions)} actions, which it did not do before.")
        return observation

    def _fingerprint(self, size: int) -> bytes:
        """The observations of a few random actions."""
        observations = [self.begin(0)]
        for action in np.random.default_rng(0).uniform(-1, 1, (PROBE_STEPS, size)).astype(np.float32):
            observations.append(self.step(action).observation)
        return np.stack(observations).tobytes()

    def _finite(self, name: str, value: Any) -> np.ndarray:
        """A copy of a reward, or of an observation in the space's type, if it is finite."""
        value = np.array(value, self._dtype if name == "observation" else None)
        if not np.all(np.isfinite(value)):
            index = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
            raise InteractionError(f"Its {name} is {value[index]}{f' at index {index}' if index else ''}, not finite.")
        return value


def episode_seeds(seed: int, environment: int, episode: int) -> tuple[int, int]:
    """The seeds of the global generators, and of the environment, for one episode."""
    first, second = np.random.SeedSequence((seed, TAG, environment, episode)).generate_state(2)
    return int(first), int(second)


def _action_size(environment: gymnasium.Env) -> int:
    """A, after a check that the spaces are supported."""
    observations, actions = environment.observation_space, environment.action_space
    if (
        isinstance(observations, gymnasium.spaces.Box)
        and isinstance(actions, gymnasium.spaces.Box)
        and len(actions.shape) == 1
        and np.all(actions.low == -1)
        and np.all(actions.high == 1)
    ):
        return actions.shape[0]
    raise InteractionError(
        f"Observations must be a single array and actions a vector in [-1, 1], got {observations} and {actions}. "
        "Use deflow.Environment, or Gymnasium's wrappers FlattenObservation and RescaleAction(environment, -1.0, 1.0)."
    )
