"""Transitions: turning a file's columns into a batch of (s, a, r, mask, s')."""

from typing import Any

import numpy as np

from ..types import Batch
from .endings import Endings
from .frames import frames_of_pairs, frames_of_rows

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
    columns: dict[str, np.ndarray],
    endings: Endings,
    actions: np.ndarray,
    rewards: np.ndarray,
    masks: np.ndarray,
    *,
    frame_stack: int = 1,
) -> Batch:
    """The batch of N transitions. Images of bytes are stored once, and are the file's own array where it has no next
    observations.

    Args:
        columns: observations and perhaps next_observations, with all rows of the file.
        endings: Where its trajectories end.
        actions: All rows of the file, in [-1, 1].
        rewards: Of the N transitions.
        masks: Of the N transitions.
        frame_stack: Images that an observation is made of.
    """
    keep, ends = kept_rows(columns, endings), endings.ends
    observations = columns["observations"]
    is_image = observations.dtype == np.uint8 and observations.ndim == 4
    number = np.uint8 if observations.dtype == np.uint8 else np.float32
    following: Any
    if "next_observations" in columns:
        following, last = columns["next_observations"], ends
        if is_image:
            observations, following = frames_of_pairs(observations, following, ends, frame_stack)
    else:
        after = np.minimum(np.arange(len(ends)) + ~ends, len(ends) - 1)  # a terminated row stands for what follows it
        # The last kept row of a trajectory: it ends here, or the next row is its end and no transition.
        last = (ends | np.append(ends[1:] & ~keep[1:], True))[keep]
        actions = actions[keep]
        if is_image:
            observations, following = frames_of_rows(observations, keep, after, ends, frame_stack)
        else:
            following, observations = observations[after[keep]], observations[keep]
    actions = actions.astype(np.float32)
    np.clip(actions, -1 + MARGIN, 1 - MARGIN, out=actions)
    return Batch(
        observation=observations if is_image else observations.astype(number, copy=False),
        action=actions,
        reward=rewards.astype(np.float32, copy=False),
        mask=masks.astype(np.float32, copy=False),
        next_observation=following if is_image else following.astype(number, copy=False),
        extras={"trajectory_end": last.astype(np.float32)},
    )
