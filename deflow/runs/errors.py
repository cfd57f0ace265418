"""What can go wrong with a run, by type: catch `RunError` to catch all of it."""

from collections.abc import Sequence


class RunError(RuntimeError):
    """A run directory that cannot be made, read or written; the message says which, why, and what to do."""


class CheckpointError(RunError):
    """A checkpoint that cannot be written, is damaged, or belongs to another state."""

    def __init__(self, message: str, differences: tuple[str, ...] = ()):
        super().__init__(message)
        self.differences = differences
        """One line for each leaf in which the state and the checkpoint differ; empty where that is not the trouble."""


class RunWarning(UserWarning):
    """Something in a run directory was damaged and could be worked around."""


def first_line(error: BaseException) -> str:
    """What an error says, as far as it fits into a sentence; its kind, where it says nothing."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def first_of(errors: Sequence[Exception | str]) -> str:
    """What the first of some errors of one kind says, without its full stop, and how many more there are."""
    more = f" (and {len(errors) - 1} more like it)" if len(errors) > 1 else ""
    return str(errors[0]).rstrip(".") + more
