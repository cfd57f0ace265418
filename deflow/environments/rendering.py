"""Environments that draw: made so that `render()` gives a picture, as fast as software can."""

import dataclasses
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from ..errors import DataError, EvaluationError, first_line
from .environment import Environment
from .makers import EnvironmentMaker

SIZE = 640
"""Width and height at which OGBench's tasks are drawn: twice what a video shows, which smooths edges. In software, a
picture takes 50 ms, and one of 200 pixels, OGBench's own size, 30 ms."""


class Rendering(NamedTuple):
    """Makes the same environment as another maker, but one that draws."""

    maker: EnvironmentMaker
    """The other maker. Unless it is an `Environment`, what it makes must draw by itself."""

    def make(self) -> gymnasium.Env[Any, Any]:
        """The environment.

        Raises:
            EvaluationError: If it cannot be made with `render_mode="rgb_array"`.
        """
        if not isinstance(self.maker, Environment):
            return self.maker.make()
        try:
            return drawing(self.maker).make()
        except DataError as error:
            why = first_line(error.__cause__ or error).partition(" was raised from the environment creator")[0]
            raise EvaluationError(
                f"It cannot be made with render_mode='rgb_array' ({why}): give its class this argument, and a render() "
                "that returns a picture."
            ) from error


def drawing(environment: Environment) -> Environment:
    """The environment with the arguments that make it draw. OGBench's draw without any, in small."""
    arguments = environment.arguments
    if environment.task is None:
        arguments = {**arguments, "render_mode": "rgb_array"}
    elif not environment.name.startswith("visual-"):  # whose pictures are their observations
        arguments = {"width": SIZE, "height": SIZE, **arguments}
    return dataclasses.replace(environment, arguments=arguments)


def without_slow_effects(made: gymnasium.Env[Any, Any]) -> None:
    """Turn off shadows and multisampling in an environment of MuJoCo that has not drawn yet; others are left alone, as
    are those whose observations are pictures.

    Motion does not change. In software they take most of the time: with both, a picture of cube-single takes 8 times
    as long.
    """
    if made.observation_space.dtype == np.uint8:
        return
    quality = getattr(getattr(getattr(made.unwrapped, "model", None), "vis", None), "quality", None)
    if quality is not None:
        quality.shadowsize = quality.offsamples = 0
