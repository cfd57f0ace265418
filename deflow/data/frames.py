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
    for start in range(0, len(data) - 1, _BLOCK):
        stop = min(start + _BLOCK, len(data) - 1)
        differ = np.any(np.asarray(following[start:stop]) != np.asarray(images[start + 1 : stop + 1]), axis=(1, 2, 3))
        if (jumps := np.flatnonzero(differ & ~ends[start:stop])).size:
            raise DataError(
                f"The image after transition {start + jumps[0]} is not that of the next one, though its trajectory "
                "goes on: mark the ends of trajectories."
            )
    # Each trajectory has a frame more than transitions: that in which it ends.
    newest = (np.arange(len(data)) + np.cumsum(ends) - ends).astype(np.int32)
    begins = np.append(True, ends[:-1])
    first = newest[np.maximum.accumulate(np.where(begins, np.arange(len(data)), 0))]
    frames = np.empty((len(data) + int(ends.sum()), *images.shape[1:]), np.uint8)
    frames[newest] = images
    frames[newest[ends] + 1] = following[ends]
    before: Any = Frames(frames, newest, first, count)
    after: Any = Frames(frames, newest + np.int32(1), first, count)
    return Batch(
        observation=before,
        action=data.action,
        reward=data.reward,
        mask=data.mask,
        next_observation=after,
        extras=data.extras,
    )
