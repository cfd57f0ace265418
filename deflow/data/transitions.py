"""Transitions: turning a file's columns into a batch of (s, a, r, mask, s')."""

import numpy as np

from ..types import Batch
from .endings import Endings

MARGIN = 1e-5
"""Actions are clipped to +-(1 - MARGIN), as in the published runs."""


def kept_rows(columns: dict[str, np.ndarray], endings: Endings) -> np.ndarray:
    """Which rows are transitions (booleans of shape (rows,)): those with a next state, and those that need none.

    Without next observations in the file, a trajectory's last row has no next state. It is a transition only if it is a
    termination, since then the next state is not used.
    """
    if "next_observations" in columns:
        return np.ones_like(endings.ends)
    if endings.terminated is None:
        return ~endings.ends
    return ~endings.ends | endings.terminated


def make_batch(
    columns: dict[str, np.ndarray], endings: Endings, actions: np.ndarray, rewards: np.ndarray, masks: np.ndarray
) -> Batch:
    """The batch of N transitions.

    Args:
        columns: observations and perhaps next_observations, with all rows of the file.
        endings: Where its trajectories end.
        actions: All rows of the file, in [-1, 1].
        rewards: Of the N transitions.
        masks: Of the N transitions.
    """
    keep, ends = kept_rows(columns, endings), endings.ends
    observations = columns["observations"]
    if "next_observations" in columns:
        following, last = columns["next_observations"], ends
    else:
        after = np.minimum(np.arange(len(ends)) + ~ends, len(ends) - 1)  # a terminated row stands for what follows it
        following = observations[after[keep]]
        # The last kept row of a trajectory: it ends here, or the next row is its end and no transition.
        last = (ends | np.append(ends[1:] & ~keep[1:], True))[keep]
        observations, actions = observations[keep], actions[keep]
    number = np.uint8 if observations.dtype == np.uint8 else np.float32
    actions = actions.astype(np.float32)
    np.clip(actions, -1 + MARGIN, 1 - MARGIN, out=actions)
    return Batch(
        observation=observations.astype(number, copy=False),
        action=actions,
        reward=rewards.astype(np.float32, copy=False),
        mask=masks.astype(np.float32, copy=False),
        next_observation=following.astype(number, copy=False),
        extras={"trajectory_end": last.astype(np.float32)},
    )
