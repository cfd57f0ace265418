"""OGBench's visual tasks: their images without what makes them slow, and their space without drawing one."""

from typing import Any

import gymnasium
import numpy as np


def without_picture_effects(made: gymnasium.Env[Any, Any]) -> None:
    """Let a visual task that has not been reset draw without shadows and with one sample a pixel.

    Its own images of 64 x 64 take 7 times as long, most of it for the shadows' map. The scene looks brighter without.
    """
    bare: Any = made.unwrapped
    if not hasattr(bare, "build_mjcf_model"):  # mazes draw by Gymnasium's renderer
        return
    model = bare.build_mjcf_model()
    model.visual.quality.shadowsize = model.visual.quality.offsamples = 0
    bare._mjcf_model = model  # of which the first reset makes the simulation


def image_space(made: gymnasium.Env[Any, Any]) -> gymnasium.spaces.Box | None:
    """The observations of a visual task that would draw one to tell their shape, which not every process can."""
    bare: Any = made.unwrapped
    if getattr(bare, "_ob_type", None) != "pixels" or not hasattr(bare, "_render_height"):
        return None
    return gymnasium.spaces.Box(0, 255, (bare._render_height, bare._render_width, 3), np.uint8)
