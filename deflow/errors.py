"""Every error and warning of deflow, by type: catch `DeflowError` to catch all errors.

Each message is a sentence that says what was wrong, what was got and what to do. Classes derive from the built-in
exception they are closest to as well, so that `except ValueError` means what it always does.
"""

from collections.abc import Sequence


class DeflowError(Exception):
    """Anything that deflow refuses, or could not do."""


class DeflowWarning(UserWarning):
    """Anything that deflow warns of."""


# --- composing an agent


class UnknownNameError(DeflowError, KeyError):
    """A name that is not registered. The message gives the nearest name and the full list."""

    def __str__(self) -> str:
        return str(self.args[0])


class RegistrationError(DeflowError, TypeError):
    """A class that cannot be registered: a duplicate, of another kind, or left abstract."""


class PluginWarning(DeflowWarning):
    """A plug-in's entry point could not be loaded; the others were."""


class SerializationError(DeflowError, ValueError):
    """An agent as plain data that this installation cannot turn into an agent."""


class LawError(DeflowError, AssertionError):
    """A part that does not do what every part of its kind must."""


class UsageError(DeflowError, ValueError):
    """Arguments on the command line that cannot be used."""


# --- environments and data


class DataError(DeflowError, ValueError):
    """A task, file or folder that cannot be used as it was given."""


class UnknownTaskError(DataError):
    """No task and no Gymnasium environment has this name."""


class SpaceError(DataError):
    """The environment's observations or actions are not what deflow can learn from."""


class DatasetFileError(DataError):
    """A dataset file is missing, damaged, of another task, or holds what it must not."""


class FolderError(DataError):
    """A folder cannot be made, written or filled."""


class DownloadError(DataError):
    """An official file could not be fetched."""


class CollectionError(DataError):
    """A dataset cannot be collected, or its collection failed."""


class CollectionInterrupted(DeflowError, KeyboardInterrupt):  # noqa: N818 - what happened, not what went wrong
    """Ctrl-C during a collection: what is done is kept, and the message says how to continue."""


class DataWarning(DeflowWarning):
    """The data can be used, but training on it is unlikely to do what is hoped."""


# --- acting


class EvaluationError(DeflowError, RuntimeError):
    """An episode failed, a worker process died, or the policy or the environment cannot be evaluated."""


class EvaluationInterrupted(EvaluationError):  # noqa: N818 - what happened, not what went wrong
    """Whoever asked for the evaluation asked for its end."""


class InteractionError(DeflowError, RuntimeError):
    """An environment failed, its process died, it cannot be sent or resumed, or it was given actions it cannot take."""


# --- what is kept


class RunError(DeflowError, RuntimeError):
    """A run directory that cannot be made, read or written."""


class CheckpointError(RunError):
    """A checkpoint that cannot be written, is damaged, or belongs to another state."""

    def __init__(self, message: str, differences: tuple[str, ...] = ()):
        super().__init__(message)
        self.differences = differences
        """One line for each leaf in which the state and the checkpoint differ; empty where that is not the trouble."""


class DamagedError(DeflowError):
    """A checkpoint's directory is not what was written; the message says in a few words what is wrong."""


class RunWarning(DeflowWarning):
    """Something in a run directory was damaged and could be worked around."""


class ReportError(DeflowError, RuntimeError):
    """Runs that cannot be reported on, or a report that cannot be written."""


# --- errors in sentences


def first_line(error: BaseException) -> str:
    """What an error says, as far as it fits into a sentence; its kind, where it says nothing."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def first_of(errors: Sequence[Exception | str]) -> str:
    """What the first of some errors of one kind says, without its full stop, and how many more there are."""
    more = f" (and {len(errors) - 1} more like it)" if len(errors) > 1 else ""
    return str(errors[0]).rstrip(".") + more
