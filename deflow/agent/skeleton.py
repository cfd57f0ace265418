"""A tree without its arrays: what programs that serve many trees of one structure are known by."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import equinox as eqx
import jax
from jaxtyping import Array

Made = TypeVar("Made")


class Skeleton:
    """The structure of a tree and its leaves that are not arrays. Two are equal if one program fits both trees."""

    def __init__(self, tree: Any):
        self._leaves, self._structure = jax.tree.flatten(tree)
        self._is_array = [eqx.is_array(leaf) for leaf in self._leaves]
        self._leaves = [None if array else leaf for leaf, array in zip(self._leaves, self._is_array, strict=True)]
        # 1, 1.0 and True are equal, and so are 0.0 and -0.0, but programs are not.
        self._key = self._structure, tuple(map(_exactly, self._leaves)), tuple(map(_exactly, static_values(tree)))

    @classmethod
    def of(cls, tree: Any) -> tuple["Skeleton", list[Array]]:
        """A tree's skeleton and its arrays."""
        return cls(tree), [leaf for leaf in jax.tree.leaves(tree) if eqx.is_array(leaf)]

    def fill(self, arrays: list[Array]) -> Any:
        """The tree with these arrays."""
        remaining = iter(arrays)
        filled = [next(remaining) if array else leaf for leaf, array in zip(self._leaves, self._is_array, strict=True)]
        return jax.tree.unflatten(self._structure, filled)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Skeleton) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _exactly(value: Any) -> tuple[type, Any]:
    return type(value), repr(value) if isinstance(value, float) else value


def static_values(tree: Any) -> Iterator[Any]:
    """The values of all static fields of all modules in a tree."""
    if isinstance(tree, eqx.Module):
        for field in dataclasses.fields(tree):
            value = getattr(tree, field.name)
            if field.metadata.get("static", False):
                yield value
            else:
                yield from static_values(value)
    elif isinstance(tree, list | tuple):
        for entry in tree:
            yield from static_values(entry)
    elif isinstance(tree, dict):
        yield from static_values(list(tree.values()))


def shared(make: Callable[..., Made]) -> Callable[..., Made]:
    """Remembers what was made for equal arguments. What cannot be hashed, such as a part with a list, gets its own."""
    known = functools.lru_cache(maxsize=32)(make)

    @functools.wraps(make)
    def made(*arguments: Any) -> Made:
        try:
            return known(*arguments)
        except (TypeError, ValueError):  # it cannot be hashed, or arrays in static fields cannot be compared
            return make(*arguments)

    return made
