"""Chunks: the actions of several consecutive steps, chosen and judged together (Q-chunking, arXiv 2507.07969)."""

import dataclasses

import numpy as np

from ..types import Batch
from .n_step import last_rows, n_step_returns, trajectory_ends


def chunked(data: Batch, length: int, *, discount: float) -> Batch:
    """The windows of `length` = h consecutive transitions of one trajectory, each as one transition:

        observation       s_t
        action            (a_t, a_(t+1), ..., a_(t+h-1)), flattened to h * A numbers
        reward            r_t + discount * r_(t+1) + ... + discount^(h-1) * r_(t+h-1)
        mask              discount^(h-1) * mask_(t+h-1)
        next observation  s_(t+h)

    so that reward + discount * mask * value(next observation) is the target of arXiv 2507.07969, equation 7. Where the
    task is solved within a window (mask 0), the rewards after that do not count, and the mask is 0. A window that would
    run beyond its trajectory's end is left out: h - 1 of each trajectory.

    Args:
        data: N transitions in their original order (NumPy arrays), with `extras["trajectory_end"]`.
        length: h, at least 1. With 1 the data is returned unchanged.
        discount: Discount factor per step.

    Raises:
        ValueError: If the data does not say where trajectories end, or no trajectory is long enough.
    """
    if length == 1:
        return data
    first, _ = chunk_rows(data, length)
    returns = n_step_returns(data, length, discount=discount)[first]
    actions = np.stack([np.asarray(data.action)[first + step] for step in range(length)], axis=1)
    last = np.append(np.diff(first), 2) > 1  # no window starts one row later
    extras = {**returns.extras, "trajectory_end": last.astype(np.float32)}
    return dataclasses.replace(returns, action=actions.reshape(len(first), -1), extras=extras)


def chunk_rows(data: Batch, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The first row t of each window, and the row whose s' is the window's next observation.

    Raises:
        ValueError: If the data does not say where trajectories end, or no trajectory is long enough.
    """
    ends = trajectory_ends(data, f"Chunks of {length} actions", "chunk=1")
    crossing = np.zeros(len(data), bool)
    for step in range(length - 1):
        crossing[: len(data) - step] |= ends[step:]
        crossing[len(data) - step :] = True
    first = np.flatnonzero(~crossing)
    if len(first) == 0:
        raise ValueError(
            f"No trajectory in the data has {length} transitions, so there is no chunk: give a smaller one."
        )
    return first, last_rows(data, length)[first]
