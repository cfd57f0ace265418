"""What can go wrong with a run, by type: catch `RunError` to catch all of it."""


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
