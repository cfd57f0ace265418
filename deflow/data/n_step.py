"""n-step returns: the sum of several rewards from the data before the critic's value."""

from typing import Any

import numpy as np

from ..frames import Frames
from ..types import Batch

RETURNS = "n_step"
"""The extra column of transitions that have n-step returns."""


def n_step_returns(data: Batch, steps: int, *, discount: float) -> Batch:
    """The same N transitions, each extended over up to `steps` steps of its trajectory (Sutton and Barto 2018,
    equation 7.1). Row t, extended over k steps, has

        reward            r_t + discount * r_(t+1) + ... + discount^(k-1) * r_(t+k-1)
        mask              discount^(k-1) * mask_(t+k-1)
        next observation  s'_(t+k-1)

    so that reward + discount * mask * value(next observation) is the k-step target. Critics need no change, and rows of
    different k can be mixed. A row has fewer steps at a termination (mask 0) or at the end of its trajectory. The later
    actions are the data's and not the policy's, and no correction is made for that.

    Args:
        data: Transitions in their original order (NumPy arrays), with `extras["trajectory_end"]`.
        steps: n, at least 1. With 1 the data is returned unchanged.
        discount: Discount factor per step.

    Raises:
        ValueError: If the data does not say where trajectories end.
    """
    if steps == 1:
        return data
    check_single_steps(data)
    reward, mask = (np.asarray(column, np.float64) for column in (data.reward, data.mask))
    ends = _ends(data, steps)
    last, factor, total = np.arange(len(data)), np.ones(len(data)), reward.copy()
    for _ in range(steps - 1):
        goes_on = ~ends[last]
        factor[goes_on] *= discount
        last[goes_on] += 1
        total[goes_on] += factor[goes_on] * reward[last[goes_on]]
    return Batch(
        observation=data.observation,
        action=data.action,
        reward=total.astype(np.float32),
        mask=(factor * mask[last]).astype(np.float32),
        next_observation=_column(data.next_observation)[last],
        extras={**data.extras, RETURNS: np.full(len(data), steps, np.float32)},
    )


def check_single_steps(data: Batch) -> None:
    """Check that transitions are as they were loaded, so that returns are not made of returns.

    Raises:
        ValueError: If they have n-step returns.
    """
    if RETURNS in data.extras:
        raise ValueError(
            f"These transitions have {int(data.extras[RETURNS][0])}-step returns already: give them as they were "
            "loaded."
        )


def last_rows(data: Batch, steps: int) -> np.ndarray:
    """The row t + k - 1 of each row t: the one whose s' is the next observation of its `steps`-step return."""
    last = np.arange(len(data))
    if steps > 1:
        ends = _ends(data, steps)
        for _ in range(steps - 1):
            last += ~ends[last]
    return last


def trajectory_ends(data: Batch, what: str, remedy: str) -> np.ndarray:
    """Whether a row is the last one of its trajectory: booleans of shape (N,).

    Raises:
        ValueError: If the data does not say it: what needs it, and what would not.
    """
    if "trajectory_end" not in data.extras:
        raise ValueError(
            f"{what} need to know where trajectories end: add a column to the data, "
            f'extras["trajectory_end"] (1 at a trajectory\'s last transition), or use {remedy}.'
        )
    ends = np.asarray(data.extras["trajectory_end"]) != 0
    ends[-1:] = True
    return ends


def _column(observations: Any) -> Any:
    """Frames as they are, so that no stack is made, and anything else as a NumPy array."""
    return observations if isinstance(observations, Frames) else np.asarray(observations)


def _ends(data: Batch, steps: int) -> np.ndarray:
    """Whether no return extends beyond a row: booleans of shape (N,)."""
    return trajectory_ends(data, f"{steps}-step returns", "n_step=1") | (np.asarray(data.mask) == 0)
