"""Chunks: the actions of several consecutive steps, chosen and judged together (Q-chunking, arXiv 2507.07969)."""

import dataclasses
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from ..types import Batch
from .n_step import RETURNS, check_single_steps, trajectory_ends


def chunked(data: Batch, length: int, *, discount: float) -> Batch:
    """The windows of `length` = h consecutive transitions of one trajectory, each as one transition (`windows_of`).

    A window that would run beyond its trajectory's end is left out: h - 1 of each trajectory.

    Args:
        data: N transitions in their original order (NumPy arrays), with `extras["trajectory_end"]`.
        length: h, at least 1. With 1 the data is returned unchanged.
        discount: Discount factor per step.

    Raises:
        ValueError: If the data does not say where trajectories end, or no trajectory is long enough.
    """
    if length == 1:
        return data
    check_single_steps(data)
    first, _ = chunk_rows(data, length)
    last = np.append(np.diff(first), 2) > 1  # no window starts one row later
    extras = {name: np.asarray(column)[first] for name, column in data.extras.items()}
    extras |= {"trajectory_end": last.astype(np.float32), RETURNS: np.full(len(first), length, np.float32)}
    found = windows_of(data, first[:, None] + np.arange(length), discount=discount)
    return dataclasses.replace(found, extras=extras)


def windows_of(data: Batch, rows: Int[Array | np.ndarray, "windows steps"], *, discount: float) -> Batch:
    """Windows of h consecutive transitions, given their rows, each as one transition:

        observation       s_t
        action            (a_t, a_(t+1), ..., a_(t+h-1)), flattened to h * A numbers
        reward            r_t + discount * r_(t+1) + ... + discount^(h-1) * r_(t+h-1)
        mask              discount^(h-1) * mask_(t+h-1)
        next observation  s_(t+h)

    so that reward + discount * mask * value(next observation) is the target of arXiv 2507.07969, equation 7. Where the
    task is solved within a window (mask 0), the rewards after that do not count, and the mask is 0.

    Of NumPy arrays it makes NumPy arrays, and of JAX's, JAX's.
    """
    rewards, masks = data.reward[rows], data.mask[rows]
    reward, factor = rewards[:, 0], masks[:, 0]
    for step in range(1, rows.shape[1]):
        factor = discount * factor
        reward = reward + factor * rewards[:, step]
        factor = factor * masks[:, step]
    return Batch(
        observation=data.observation[rows[:, 0]],
        action=data.action[rows].reshape(len(rows), -1),
        reward=_single(reward),
        mask=_single(factor),
        next_observation=data.next_observation[rows[:, -1]],
    )


def chunk_rows(data: Batch, length: int) -> tuple[np.ndarray, np.ndarray]:
    """The first row t and the last row t + h - 1 of each window.

    Raises:
        ValueError: If the data does not say where trajectories end, or no trajectory is long enough.
    """
    ends = trajectory_ends(data, f"Chunks of {length} actions", "chunk=1")
    crossing = np.full(len(data), len(data) < length)
    for step in range(min(length, len(data)) - 1):
        crossing[: len(data) - step] |= ends[step:]
        crossing[len(data) - step :] = True
    first = np.flatnonzero(~crossing)
    if len(first) == 0:
        raise ValueError(
            f"No trajectory in the data has {length} transitions, so there is no chunk: give a smaller one."
        )
    return first, first + length - 1


def _single(column: Any) -> Float[Array | np.ndarray, " windows"]:
    """The column in float32, which training uses."""
    return column if isinstance(column, jax.Array) else np.asarray(column, np.float32)
