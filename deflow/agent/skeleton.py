"""A tree without its arrays: what programs that serve many trees of one structure are known by."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
from jaxtyping import Array

Made = TypeVar("Made")


class Skeleton(NamedTuple):
    """The structure of a tree and its leaves that are not arrays. Two are equal if one program fits both trees."""

    structure: Any
    leaves: tuple[tuple[type, Any] | None, ...]
    """Each with its type (1, 1.0 and True are equal); None for an array."""

    @classmethod
    def of(cls, tree: Any) -> tuple["Skeleton", list[Array]]:
        """A tree's skeleton and its arrays."""
        leaves, structure = jax.tree.flatten(tree)
        rest = tuple(None if eqx.is_array(leaf) else (type(leaf), leaf) for leaf in leaves)
        return cls(structure, rest), [leaf for leaf in leaves if eqx.is_array(leaf)]

    def fill(self, arrays: list[Array]) -> Any:
        """The tree with these arrays."""
        remaining = iter(arrays)
        return jax.tree.unflatten(self.structure, [next(remaining) if one is None else one[1] for one in self.leaves])


def shared(make: Callable[..., Made]) -> Callable[..., Made]:
    """Remembers what was made for equal arguments. What cannot be hashed, such as a part with a list, gets its own."""
    known = functools.lru_cache(maxsize=32)(make)

    @functools.wraps(make)
    def made(*arguments: Any) -> Made:
        try:
            hash(arguments)
        except TypeError:
            return make(*arguments)
        return known(*arguments)

    return made
