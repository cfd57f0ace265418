"""What an environment's `render()` returns, as a picture: bytes of shape (H, W, 3), no larger than a video shows."""

from typing import Any

import numpy as np

from ..errors import EvaluationError

LARGEST = 320
"""Pixels of a picture's longer side, to which larger ones are reduced."""


def as_picture(rendered: Any) -> np.ndarray:
    """The picture, of shape (H, W, 3) in bytes.

    Grey pictures become coloured, transparent ones lie on white, and numbers with a fraction are in [0, 1], or in
    [0, 255] if any is larger than 1.

    Raises:
        EvaluationError: If it is none.
    """
    if rendered is None:
        raise EvaluationError(
            "Its render() returned None: make it with render_mode='rgb_array', or let render() return an array of "
            "shape (height, width, 3)."
        )
    picture = np.asarray(rendered)
    if picture.ndim == 2:
        picture = picture[..., None]
    if picture.ndim != 3 or picture.shape[-1] not in (1, 3, 4) or picture.dtype.kind not in "buif" or not picture.size:
        raise EvaluationError(
            f"Its render() returned {_in_words(rendered)}: let it return an array of shape (height, width, 3)."
        )
    picture = _in_bytes(picture)
    if picture.shape[-1] == 4:
        opaque = picture[..., 3:] / 255.0
        picture = np.round(picture[..., :3] * opaque + 255 * (1 - opaque)).astype(np.uint8)
    return _reduced(np.ascontiguousarray(np.broadcast_to(picture, (*picture.shape[:2], 3))))


def _in_bytes(picture: np.ndarray) -> np.ndarray:
    if picture.dtype == np.uint8:
        return picture
    values = np.nan_to_num(picture.astype(np.float64))
    if picture.dtype.kind in "ui" and values.max() > 255:
        raise EvaluationError(f"Its render() returned numbers up to {values.max():.0f}: let it return bytes, 0 to 255.")
    if picture.dtype.kind == "b" or (picture.dtype.kind == "f" and values.max() <= 1.0):
        values = 255 * values
    return np.round(np.clip(values, 0, 255)).astype(np.uint8)


def _reduced(picture: np.ndarray) -> np.ndarray:
    height, width, _ = picture.shape
    if max(height, width) <= LARGEST:
        return picture
    from PIL import Image  # comes with matplotlib

    scale = LARGEST / max(height, width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def _in_words(rendered: Any) -> str:
    if isinstance(rendered, np.ndarray):
        return f"an array of shape {rendered.shape} and type {rendered.dtype}"
    return f"a {type(rendered).__name__}"
