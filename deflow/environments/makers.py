"""What can be passed as an environment: anything that makes one, in whichever process needs it."""

from typing import Any, Protocol, cast

import gymnasium


class EnvironmentMaker(Protocol):
    """An `Environment`, or your own picklable object."""

    def make(self) -> gymnasium.Env[Any, Any]:
        """A new environment."""
        ...


class HasEnvironmentMaker(Protocol):
    """A `Task`, whose `environment` makes its environment."""

    @property
    def environment(self) -> EnvironmentMaker:
        """The maker of the environment."""
        ...


EnvironmentLike = EnvironmentMaker | HasEnvironmentMaker
"""A task, or any picklable object with `make() -> gymnasium.Env`."""


def maker_of(given: EnvironmentLike) -> EnvironmentMaker:
    """The maker of the environment: a task's, or the given object itself."""
    return cast(EnvironmentMaker, getattr(given, "environment", given))
