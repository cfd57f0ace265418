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


def joined(observation: Any, keys: Sequence[str], shape: Sequence[int], sizes: Sequence[int] = ()) -> np.ndarray:
    """The entries of an observation with these keys, in this order, as an array of this shape; of a batch, whose
    entries have one more first axis, an array (B, *shape). `sizes` are those of the entries, if they are known.

    Raises:
        SpaceError: If an entry is missing, or they have another size together.
    """
    found, size = leaves(observation, "observation"), int(np.prod(shape))
    if missing := [key for key in keys if key not in found]:
        raise SpaceError(
            f"The observation has no {', '.join(map(repr, missing))}, only {', '.join(map(repr, found))}: give one "
            f"with the entries {', '.join(keys)}."
        )
    entries = [np.asarray(found[key]) for key in keys]
    total, rows = sum(entry.size for entry in entries), {len(entry) if entry.ndim else None for entry in entries}
    number = rows.pop() if len(rows) == 1 else None
    single = all(entry.ndim < 2 for entry in entries) or (len(entries) == 1 and entries[0].shape == tuple(shape))
    fits = all(entry.size * size == own * total for entry, own in zip(entries, sizes, strict=bool(sizes)))
    if fits and number is not None and total == number * size and not (single and total == size):
        flat = [entry.reshape(number, int(np.prod(entry.shape[1:]))) for entry in entries]
        return np.concatenate(flat, axis=1).reshape(number, *shape)
    if fits and total == size:
        return np.concatenate([np.ravel(entry) for entry in entries]).reshape(tuple(shape))
    got = ", ".join(f"{key} {entry.shape}" for key, entry in zip(keys, entries, strict=True))
    wanted = f" of {', '.join(map(str, sizes))} numbers" if sizes else ""
    raise SpaceError(
        f"The entries {got} do not make up observations of shape {tuple(shape)}{wanted}, nor a batch of them."
    )
