"""Keys: which entries of a dictionary are joined, and in which order."""

import pathlib
from collections.abc import Mapping, Sequence

from ...errors import DatasetFileError
from .joining import matching


def chosen_keys(
    path: pathlib.Path, shapes: Mapping[str, tuple[int, ...]], patterns: Sequence[str], what: str
) -> tuple[tuple[str, ...], list[str]]:
    """The keys to join, and what was decided: those of the patterns, else all whose rows are vectors or single numbers,
    in the order of `shapes`. Images and the like must be named, unless there is nothing else.

    Args:
        path: Where they lie.
        shapes: The shape of a row, by key.
        patterns: Names or patterns that the user gave.
        what: The observation, or the action.

    Raises:
        DatasetFileError: If a pattern matches nothing, or there is no vector and more than one key.
    """
    if patterns:
        names = matching(path, shapes, patterns, what)
    elif len(shapes) == 1:
        names = tuple(shapes)
    else:
        names = tuple(name for name, shape in shapes.items() if len(shape) <= 1)
    if not names:
        known = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "nothing"
        raise DatasetFileError(f"{path} has no vector for the {what}, but {known}: name what it is (columns.{what}).")
    left = [name if len(shape) <= 1 else f"{name} {shape}" for name, shape in shapes.items() if name not in names]
    decided = [f"{what}s = {', '.join(names)}"] if len(shapes) > 1 else []
    return names, decided + ([f"left out of the {what}: {', '.join(left)}"] if left else [])
