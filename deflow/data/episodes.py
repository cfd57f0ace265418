"""One episode of a collection, which depends only on its own seed."""

import pathlib
import zipfile

import numpy as np

from ..environments import Behaviour, nothing_from_the_system
from ..errors import CollectionError
from .folders import appearing

SPLITS = ("train", "val")
"""The two files of a dataset; their episodes have different seeds."""

ATTEMPTS = 100
"""How often an episode is played again if the behaviour rejects it."""


def play_episode(behaviour: Behaviour, *, seed: int, split: str, index: int, steps: int) -> dict[str, np.ndarray]:
    """Play one episode of `steps` transitions. Returns columns of steps + 1 rows, in OGBench's types.

    Raises:
        CollectionError: If the behaviour rejected every attempt.
    """
    for attempt in range(ATTEMPTS):
        words = np.random.SeedSequence([seed, SPLITS.index(split), index, attempt]).generate_state(2)
        np.random.seed(words[0])
        with nothing_from_the_system(int(words[1])):
            episode = _play(behaviour, int(words[1]), steps)
        if behaviour.accepts(episode):
            return episode
    raise CollectionError(f"Episode {index} of {split} was rejected {ATTEMPTS} times: choose another seed.")


def write_episode(path: pathlib.Path, episode: dict[str, np.ndarray]) -> None:
    """Save a finished episode atomically."""
    with appearing(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, allow_pickle=False, **episode)


def read_episode(path: pathlib.Path) -> dict[str, np.ndarray] | None:
    """A saved episode, or None if it is missing or damaged."""
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):
        return None


def _play(behaviour: Behaviour, seed: int, steps: int) -> dict[str, np.ndarray]:
    observation = behaviour.begin(seed)
    observations, actions = [], []
    columns: dict[str, list] = {column.name: [] for column in behaviour.columns}
    for _ in range(steps + 1):
        action = np.clip(behaviour.act(), -1, 1)
        following, _, _, _, info = behaviour.environment.step(action)
        behaviour.observe(following, info)
        observations.append(observation)
        actions.append(action)
        for column in behaviour.columns:
            columns[column.name].append(info[column.key])
        observation = following
    terminals = np.zeros(steps + 1, bool)
    terminals[-1] = True
    return {
        "observations": np.asarray(observations, np.float32),
        "actions": np.asarray(actions, np.float32),
        "terminals": terminals,
        **{column.name: np.asarray(columns[column.name], column.dtype) for column in behaviour.columns},
    }
