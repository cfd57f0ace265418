"""Frame stacks: observations made of the images of the last steps, the oldest first among the channels."""

import collections
from typing import Any

import numpy as np

from ..errors import SpaceError

CHANNELS = (1, 3, 4)
"""Channels of usual images: grey, in colours, and in colours with transparency."""

ASPECT = 2.0
"""Images with their channels first are recognized up to this ratio of their sides."""


class FrameStack:
    """The last images of an episode, whose first one is repeated until there are as many.

    For a policy that acts in an environment of single images: `first` at an episode's start, `next` after each step.
    """

    def __init__(self, count: int):
        check_count(count)
        self._count = count
        self._frames: collections.deque[np.ndarray] = collections.deque(maxlen=count)

    def first(self, frame: np.ndarray) -> np.ndarray:
        """The observation at the start of an episode."""
        self._frames.extend([frame] * self._count)
        return self._stacked()

    def next(self, frame: np.ndarray) -> np.ndarray:
        """The observation after a further step."""
        self._frames.append(frame)
        return self._stacked()

    def _stacked(self) -> np.ndarray:
        return np.concatenate(self._frames, axis=-1)


def stacked_shape(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """The shape of an observation of so many frames."""
    return (*shape[:-1], shape[-1] * count) if count > 1 else shape


def check_count(frame_stack: Any) -> None:
    """Refuse what is no number of frames.

    Raises:
        SpaceError: If it is not a whole number of at least 1.
    """
    if isinstance(frame_stack, bool) or not isinstance(frame_stack, int | np.integer):
        raise SpaceError(f"frame_stack must be a whole number, got {frame_stack!r}.")
    if frame_stack < 1:
        raise SpaceError(f"frame_stack must be at least 1, got {frame_stack}.")


def check_images(where: str, shape: tuple[int, ...], dtype: Any, frame_stack: int) -> None:
    """Refuse images with their channels first, or of whole numbers that are no bytes, and stacks of what are no images.
    `where` is what has them.

    Raises:
        SpaceError: If there are any.
    """
    check_count(frame_stack)
    is_image = len(shape) == 3 and dtype == np.uint8
    if len(shape) == 3 and not is_image and np.dtype(dtype).kind in "iub":
        raise SpaceError(
            f"{where} has images of type {np.dtype(dtype)}, and deflow takes bytes: convert them by "
            "image.astype(numpy.uint8), if their entries are from 0 to 255."
        )
    if is_image and _has_channels_first(shape):
        raise SpaceError(
            f"{where} has images of shape {shape}, channels first, and deflow takes (height, width, channels): move "
            "them to the end, as numpy.moveaxis(image, 0, -1) does."
        )
    if frame_stack > 1 and not is_image:
        remedy = "save such images, as in np.round(255 * image).astype(np.uint8) for entries from 0 to 1"
        if len(shape) == 2 and dtype == np.uint8:
            remedy = "give grey images an axis of one channel, as image[..., None] does"
        raise SpaceError(
            f"{where} has observations of shape {shape} and type {dtype}, and frames are images of bytes (uint8) of "
            f"shape (height, width, channels): {remedy}, or leave frame_stack out."
        )


def _has_channels_first(shape: tuple[int, ...]) -> bool:
    """Whether the first axis is the channels: the shortest, before two sides of an image."""
    first, one, other = shape
    sides = sorted((one, other))
    return other not in CHANNELS and first < sides[0] > max(CHANNELS) and sides[1] <= ASPECT * sides[0]
