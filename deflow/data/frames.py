"""Images as stacked frames: a data set of single images becomes one of stacks, and keeps each image once."""

from typing import Any

import numpy as np

from ..errors import DataError
from ..frames import Frames
from ..types import Batch
from .n_step import trajectory_ends

_BLOCK = 1 << 12  # images that are compared at once: 50 MB at 64 x 64 x 3


def stack_frames(data: Batch, count: int = 3) -> Batch:
    """The same transitions with the last `count` images as observations, oldest first, an episode's first one repeated.

    s' is made of the same frames as s: those of the next transition and, at a trajectory's end, one frame more.

    Args:
        data: N transitions in their original order, with images of bytes and `extras["trajectory_end"]`.
        count: Frames that are stacked, at least 1.

    Raises:
        DataError: If observations are no images of bytes, or s' is not the next transition's s within a trajectory.
        ValueError: If the count is below 1, or the data does not say where trajectories end.
    """
    if count < 1:
        raise ValueError(f"At least 1 frame is stacked, got {count}.")
    images, following = data.observation, data.next_observation
    if isinstance(images, Frames) or isinstance(following, Frames):
        raise DataError("The data's frames are stacked already: give single images.")
    if images.ndim != 4 or images.dtype != np.uint8:
        raise DataError(
            f"Frames are images of bytes, of shape (height, width, channels), got observations of shape "
            f"{images.shape[1:]} and type {images.dtype}: stack images only."
        )
    ends = trajectory_ends(data, f"Stacks of {count} frames", "single images")
    before, after = frames_of_pairs(np.asarray(images), np.asarray(following), ends, count)
    return Batch(
        observation=before,
        action=data.action,
        reward=data.reward,
        mask=data.mask,
        next_observation=after,
        extras=data.extras,
    )


def frames_of_pairs(images: np.ndarray, following: np.ndarray, ends: np.ndarray, count: int) -> tuple[Any, Any]:
    """Observations s and s' of N transitions in their original order, from the images of both.

    Raises:
        DataError: If s' is not the next transition's s where no trajectory ends.
    """
    for start in range(0, len(images) - 1, _BLOCK):
        stop = min(start + _BLOCK, len(images) - 1)
        differ = np.any(following[start:stop] != images[start + 1 : stop + 1], axis=(1, 2, 3))
        if (jumps := np.flatnonzero(differ & ~ends[start:stop])).size:
            raise DataError(
                f"The image after transition {start + jumps[0]} is not that of the next one, though its trajectory "
                "goes on: mark the ends of trajectories."
            )
    # Each trajectory has a frame more than transitions: that in which it ends.
    newest = np.arange(len(images)) + np.cumsum(ends) - ends
    frames = np.empty((len(images) + int(ends.sum()), *images.shape[1:]), np.uint8)
    frames[newest] = images
    frames[newest[ends] + 1] = following[ends]
    first = newest[_starts(ends)]
    return Frames.of_episodes(frames, newest, first, count), Frames.of_episodes(frames, newest + 1, first, count)


def frames_of_rows(
    images: np.ndarray, keep: np.ndarray, after: np.ndarray, ends: np.ndarray, count: int
) -> tuple[Any, Any]:
    """Observations s and s' of the rows to `keep` of a file with an image per row, which is not copied. `after` is the
    row whose image follows."""
    first = _starts(ends)[keep]
    newest, following = np.arange(len(images))[keep], after[keep]
    return Frames.of_episodes(images, newest, first, count), Frames.of_episodes(images, following, first, count)


def _starts(ends: np.ndarray) -> np.ndarray:
    """The first row of each row's trajectory."""
    rows = np.arange(len(ends))
    return np.maximum.accumulate(np.where(np.append(True, ends[:-1]), rows, 0))
