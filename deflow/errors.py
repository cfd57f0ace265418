"""Every error and warning of deflow, by type: catch `DeflowError` to catch all errors.

Each message is a sentence that says what was wrong, what was received and what to do. Classes also derive from the
closest built-in exception, so that `except ValueError` works as usual.
"""

import sys
import warnings
from collections.abc import Sequence


class DeflowError(Exception):
    """Any error of deflow."""


class DeflowWarning(UserWarning):
    """Any warning of deflow."""


# --- composing an agent


class UnknownNameError(DeflowError, KeyError):
    """A name that is not registered. The message gives the nearest name and the full list."""

    def __str__(self) -> str:
        return str(self.args[0])


class RegistrationError(DeflowError, TypeError):
    """A class that cannot be registered: a duplicate, of another kind, or left abstract."""


class PluginWarning(DeflowWarning):
    """A plug-in's entry point could not be loaded. The others were."""


class RegistrationWarning(DeflowWarning):
    """A part of an agent in training is not registered. It can be trained, but not saved in a run until it is."""


class SerializationError(DeflowError, ValueError):
    """A recorded agent that cannot be rebuilt with what is installed and registered here."""


class LawError(DeflowError, AssertionError):
    """A part that does not do what every part of its kind must."""


class UsageError(DeflowError, ValueError):
    """Arguments on the command line that cannot be used."""


# --- environments and data


class DataError(DeflowError, ValueError):
    """A task, file or folder that cannot be used."""


class UnknownTaskError(DataError):
    """No task and no Gymnasium environment has this name."""


class SpaceError(DataError):
    """The environment's observation or action space is not supported."""


class DatasetFileError(DataError):
    """A dataset file is missing, damaged, of another task, or has invalid content."""


class FolderError(DataError):
    """A folder cannot be created or written, or its disk is full."""


class DownloadError(DataError):
    """An official file could not be downloaded."""


class CollectionError(DataError):
    """A dataset cannot be collected, or its collection failed."""


class CollectionInterrupted(DeflowError, KeyboardInterrupt):  # noqa: N818 - what happened, not what went wrong
    """Ctrl-C during a collection. Finished episodes are kept, and the message says how to continue."""


class DataWarning(DeflowWarning):
    """The data can be used, but training on it is unlikely to work well."""


# --- the behaviour


class ProposalsError(DeflowError, RuntimeError):
    """Proposals of a behaviour flow that are damaged, or cannot be written."""


class ProposalsInterrupted(DeflowError, KeyboardInterrupt):  # noqa: N818 - what happened, not what went wrong
    """The drawing of proposals was interrupted. What was drawn is kept, and the next call goes on."""


# --- acting


class EvaluationError(DeflowError, RuntimeError):
    """An episode failed, a worker process died, or the policy or the environment cannot be evaluated."""


class EvaluationInterrupted(EvaluationError):  # noqa: N818 - what happened, not what went wrong
    """The evaluation was interrupted by its caller."""


class EstimationError(DeflowError, RuntimeError):
    """A policy's value cannot be estimated."""


class InteractionError(DeflowError, RuntimeError):
    """An environment failed, its process died, it cannot be sent or resumed, or it received invalid actions."""


class HostsError(DeflowError, RuntimeError):
    """One of the processes that train together is gone, or they cannot be brought together."""


# --- what is kept


class RunError(DeflowError, RuntimeError):
    """A run directory that cannot be made, read or written."""


class SweepError(DeflowError, ValueError):
    """A list of runs that makes no sense, or what carries it out cannot be used."""


class ExportError(DeflowError, RuntimeError):
    """A policy that cannot be exported, or an exported file that does not do what the policy does."""


class CheckpointError(RunError):
    """A checkpoint that cannot be written, is damaged, or belongs to another state."""

    def __init__(self, message: str, differences: tuple[str, ...] = ()):
        super().__init__(message)
        self.differences = differences
        """One line for each array in which the state and the checkpoint differ; empty if that is not the problem."""


class DamagedError(DeflowError):
    """A checkpoint's directory is not what was written. The message is a short reason."""


class RunWarning(DeflowWarning):
    """Something in a run directory is damaged or could not be written, and the run continues without it."""


class ReportError(DeflowError, RuntimeError):
    """Runs that cannot be reported on, or a report that cannot be written."""


def warn(message: str, category: type[DeflowWarning]) -> None:
    """Warns at the user's line: the innermost one that is neither deflow's nor that of a library below it."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _NOT_THE_USERS:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


_NOT_THE_USERS = {"deflow", "equinox", "jax", "jaxtyping", "beartype", "contextlib", "functools", "importlib"}


# --- errors in sentences


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type if it has no message."""
    return (str(error).splitlines() or [""])[0] or type(error).__name__


def first_of(errors: Sequence[Exception | str]) -> str:
    """The first line of the first error, without its full stop, and how many more there are."""
    more = f" (and {len(errors) - 1} more like it)" if len(errors) > 1 else ""
    return str(errors[0]).rstrip(".") + more
