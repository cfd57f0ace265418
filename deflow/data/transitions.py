"""Transitions: the columns of a file -> a batch of (s, a, r, mask, s')."""

import numpy as np

from ..types import Batch

MARGIN = 1e-5
"""Actions are clipped to +-(1 - MARGIN), as in the published runs."""


def kept_rows(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Which rows (a mask of shape (rows,)) are transitions: all, or all but each trajectory's last observation."""
    terminals = columns["terminals"].astype(bool)
    return np.ones_like(terminals) if "next_observations" in columns else ~terminals


def make_batch(columns: dict[str, np.ndarray], actions: np.ndarray, rewards: np.ndarray, masks: np.ndarray) -> Batch:
    """The batch of N transitions.

    Args:
        columns: observations, terminals and perhaps next_observations, with all rows of the file.
        actions: All rows of the file, in [-1, 1].
        rewards: Of the N transitions.
        masks: Of the N transitions.
    """
    keep = kept_rows(columns)
    observations, terminals = columns["observations"], columns["terminals"].astype(bool)
    if "next_observations" in columns:
        following, last = columns["next_observations"], terminals
    else:
        following = observations[np.concatenate([[False], keep[:-1]])]
        observations, last = observations[keep], np.concatenate([terminals[1:], [True]])[keep]
        actions = actions[keep]
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
