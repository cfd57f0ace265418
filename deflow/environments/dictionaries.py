"""Dictionary observations: their entries by name, and how chosen ones are joined into the array that networks see."""

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete

from ..errors import SpaceError


def leaves(tree: Any, name: str) -> dict[str, Any]:
    """The arrays (or spaces) in dictionaries and tuples, by names such as `camera/pose`; `name` if there is one."""
    inner = getattr(tree, "spaces", tree)
    if isinstance(inner, tuple):
        inner = {str(index): each for index, each in enumerate(inner)}
    if not isinstance(inner, Mapping):
        return {name: tree}
    found = {}
    for key, each in inner.items():
        found |= {key if at == "" else f"{key}/{at}": leaf for at, leaf in leaves(each, "").items()}
    return found


def is_numeric(space: gymnasium.Space[Any]) -> bool:
    """Whether a space has arrays of numbers. An index is one number."""
    return isinstance(space, Box | Discrete | MultiBinary | MultiDiscrete)


def is_nested(space: gymnasium.Space[Any]) -> bool:
    """Whether a space has entries."""
    return isinstance(space, gymnasium.spaces.Dict | gymnasium.spaces.Tuple)


def joined_space(name: str, space: gymnasium.Space[Any], keys: Sequence[str]) -> Box:
    """The space of the entries with these keys, side by side; a single one keeps its shape. Bytes alone stay bytes.

    Raises:
        SpaceError: If the environment `name` does not have them, or they are no numbers.
    """
    found = leaves(space, "observation")
    for key in keys:
        if key not in found or not is_numeric(found[key]):
            what = "no numbers in" if key in found else "no"
            raise SpaceError(
                f"{name} has {what} {key!r} among its observations ({', '.join(found)}), and the data's are joined "
                f"from {', '.join(keys)}: give the environment that the data was recorded in."
            )
    shapes = [found[key].shape or (1,) for key in keys]
    shape = shapes[0] if len(keys) == 1 else (sum(int(np.prod(each)) for each in shapes),)
    if np.result_type(*(found[key].dtype for key in keys)) == np.uint8:
        return Box(0, 255, shape, np.uint8)
    return Box(-np.inf, np.inf, shape, np.float64)


def joined(observation: Any, keys: Sequence[str], space: Box) -> np.ndarray:
    """The entries of an observation with these keys, in this order, as an array of the joined space's shape."""
    found = leaves(observation, "observation")
    return np.concatenate([np.ravel(found[key]) for key in keys]).reshape(space.shape)
