"""The run-time type checker of the tests: beartype, which cannot see that `Self` is the class a method stands in."""

from typing import Any, Self

from beartype import beartype


def check(function):
    """Checks the function's arguments and result against its annotations whenever it is called."""
    hints = getattr(function, "__annotations__", {})
    if Self in hints.values():
        function.__annotations__ = {name: Any if hint is Self else hint for name, hint in hints.items()}
    return beartype(function)
