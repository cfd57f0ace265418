"""Which spaces of observations and actions an environment may have."""

from typing import Any

import gymnasium
import numpy as np

from ..errors import SpaceError


def check_observations(name: str, space: gymnasium.Space[Any]) -> gymnasium.spaces.Box:
    """The observation space if it is a single array of numbers; otherwise a SpaceError."""
    if isinstance(space, gymnasium.spaces.Dict):
        raise SpaceError(
            f"{name} has dictionary observations with keys {sorted(space.spaces)}, but deflow needs a single array: "
            "learn from data that names them, as Minari's sets do, or wrap it in "
            "gymnasium.wrappers.FlattenObservation and register the result under its own name."
        )
    if not isinstance(space, gymnasium.spaces.Box):
        raise SpaceError(
            f"{name} has observations of {type(space).__name__}, but deflow needs a single array of numbers: wrap "
            "it in gymnasium.wrappers.FlattenObservation and register the result under its own name."
        )
    return space


def check_actions(name: str, space: gymnasium.Space[Any]) -> gymnasium.spaces.Box:
    """The action space if it is a vector with finite bounds; otherwise a SpaceError."""
    if not isinstance(space, gymnasium.spaces.Box):
        raise SpaceError(
            f"{name} has actions of {type(space).__name__}, but deflow needs continuous ones: choose an environment "
            "whose action space is a Box."
        )
    if len(space.shape) != 1:
        raise SpaceError(
            f"{name} has actions of shape {space.shape}, but deflow needs a vector: flatten the action space with a "
            "wrapper and register the result under its own name."
        )
    if not np.issubdtype(space.dtype, np.floating):
        raise SpaceError(
            f"{name} takes actions of type {space.dtype}, but DeFlow acts with real numbers: choose an environment "
            "with a floating-point action space."
        )
    if not (np.all(np.isfinite(space.low)) and np.all(np.isfinite(space.high))):
        raise SpaceError(
            f"{name} has actions without finite bounds, so they cannot be scaled to [-1, 1]: bound them with "
            "gymnasium.wrappers.RescaleAction and register the result under its own name."
        )
    return space
