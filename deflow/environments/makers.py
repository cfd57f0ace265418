"""What may be given where an environment is asked for: anything that makes one, in whichever process needs it."""

from typing import Any, Protocol, cast

import gymnasium


class EnvironmentMaker(Protocol):
    """An `Environment`, or an object of your own that can be pickled."""

    def make(self) -> gymnasium.Env[Any, Any]:
        """A new environment."""
        ...


class HasEnvironmentMaker(Protocol):
    """A `Task`, whose `environment` makes its environment."""

    @property
    def environment(self) -> EnvironmentMaker:
        """What makes the environment."""
        ...


EnvironmentLike = EnvironmentMaker | HasEnvironmentMaker
"""A task, or anything that can be pickled and has `make() -> gymnasium.Env`."""


def maker_of(given: EnvironmentLike) -> EnvironmentMaker:
    """What makes the environment: that of a task, or what was given."""
    return cast(EnvironmentMaker, getattr(given, "environment", given))
