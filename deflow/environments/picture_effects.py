"""Images of OGBench's visual tasks without what makes them slow in software: shadows, and several samples a pixel."""

from typing import Any

import gymnasium


def without_picture_effects(made: gymnasium.Env[Any, Any]) -> None:
    """Let a visual task of OGBench's that has not been reset draw without shadows and with one sample a pixel.

    Its own images of 64 x 64 take 7 times as long, most of it for the shadows' map. The scene looks brighter without.
    """
    bare: Any = made.unwrapped
    if not hasattr(bare, "build_mjcf_model"):  # mazes draw by Gymnasium's renderer
        return
    model = bare.build_mjcf_model()
    model.visual.quality.shadowsize = model.visual.quality.offsamples = 0
    bare._mjcf_model = model  # of which the first reset makes the simulation
