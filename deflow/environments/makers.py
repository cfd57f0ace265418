"""What can be passed as an environment: anything that makes one, in whichever process needs it."""

from typing import Any, Protocol, cast

import gymnasium

from ..errors import SpaceError
from .environment import Environment


class EnvironmentMaker(Protocol):
    """An `Environment`, or your own picklable object."""

    def make(self) -> gymnasium.Env[Any, Any]:
        """A new environment."""
        ...


class HasEnvironmentMaker(Protocol):
    """A `Task`, whose `environment` makes its environment."""

    @property
    def environment(self) -> EnvironmentMaker | None:
        """The maker of the environment; None for a task of data alone."""
        ...


EnvironmentLike = EnvironmentMaker | HasEnvironmentMaker | str
"""A task, an environment's id, or any picklable object with `make() -> gymnasium.Env`."""


def maker_of(given: EnvironmentLike) -> EnvironmentMaker:
    """The maker of the environment: that of a task or an id, or the given object itself.

    Raises:
        SpaceError: For an environment itself, which other processes cannot be sent, for a task of data alone, and for
            anything without `make`.
    """
    if isinstance(given, str):
        return Environment(given)
    maker = getattr(given, "environment", given)
    if callable(getattr(maker, "make", None)) and not isinstance(maker, type):
        return cast(EnvironmentMaker, maker)
    if isinstance(given, gymnasium.Env):
        name = given.spec.id if given.spec is not None else "its registered id"
        raise SpaceError(
            f"Worker processes make their own environments, but got one that already exists: give its id ({name}), or "
            "an object whose make() returns one."
        )
    if maker is None:
        raise SpaceError(
            "The task consists of data alone, so no episode can be played: give an environment, or judge the policy by "
            "its data (deflow.estimate)."
        )
    raise SpaceError(f"The environment must be a task, an id, or an object with make(), got {given!r}.")
