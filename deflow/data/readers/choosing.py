"""Choosing: which columns are what in a source whose columns a user names, and that no reward is lost by it."""

import pathlib
from collections.abc import Iterable, Sequence

import numpy as np

from ...errors import DatasetFileError
from .joining import matching


def single(path: pathlib.Path, available: Iterable[str], pattern: str, what: str) -> str:
    """The one column that a name or a pattern stands for.

    Raises:
        DatasetFileError: If it is none, or several.
    """
    name, *others = matching(path, available, [pattern], what)
    if others:
        raise DatasetFileError(
            f"{path} has {len(others) + 1} columns that match {pattern!r} ({', '.join((name, *others))}), and the "
            f"{what} is one: name it."
        )
    return name


def observation_and_action(
    path: pathlib.Path, available: Sequence[str], observation: Sequence[str], action: Sequence[str]
) -> dict[str, tuple[str, ...]]:
    """The columns of the observation and of the action, in order.

    Raises:
        DatasetFileError: If a pattern matches nothing, or a column would be in both.
    """
    chosen = {
        "observation": matching(path, available, observation, "observation"),
        "action": matching(path, available, action, "action"),
    }
    if both := [name for name in chosen["observation"] if name in chosen["action"]]:
        raise DatasetFileError(
            f"{path}: the column {both[0]!r} would be in the observation and in the action: name the columns of the "
            "observation more closely."
        )
    return chosen


def check_rewards_are_kept(
    path: pathlib.Path, rewards: np.ndarray, ends: np.ndarray, terminated: np.ndarray | None
) -> None:
    """Check that what tells good from bad is not in last rows alone, which have no next state and are no transitions
    unless the episode terminates there.

    Raises:
        DatasetFileError: If all other rewards are the same.
    """
    kept = ~ends if terminated is None else ~ends | terminated
    if kept.all() or not kept.any():
        return
    usual = rewards[kept][0]
    if np.all(rewards[kept] == usual) and (lost := ~kept & (rewards != usual)).any():
        raise DatasetFileError(
            f"{path} has the reward {usual:g} everywhere but in the last rows of trajectories (such as row "
            f"{int(np.argmax(lost))}), which have no next state and are left out: name the column that is 1 where an "
            "episode terminates (columns.termination), because such rows need none."
        )
