"""The environment of a task: by its name, or the one that the data names."""

import dataclasses
import os

from ..environments import Environment, SuccessTiming, is_visual
from ..errors import DataError, UnknownTaskError
from .collection_plan import Collected
from .readers import Columns, RecordedIn, reader_named, reader_of
from .sources import Source, UserData, as_source

NO_ENVIRONMENT = "none"
"""The name of a task that consists of data alone."""

RECORDED_ENVIRONMENT = "recorded"
"""The name of a task whose environment is the one that its data names."""


def task_environment(
    name: str | Environment,
    source: Source | str | os.PathLike[str],
    *,
    success_timing: SuccessTiming = "pre",
    frame_stack: int | None = None,
) -> Environment | None:
    """The environment that `load_task` makes; None for data alone. Nothing is made or read yet but what the data says
    of itself: the environment, if `name` is `recorded`, and which entries of dictionary observations it has.

    Raises:
        DataError: If the data names no environment, or one that cannot be made from its name.
    """
    if isinstance(name, Environment):
        return name if frame_stack is None else dataclasses.replace(name, frame_stack=frame_stack)
    if name == NO_ENVIRONMENT:
        return None
    source = as_source(source)
    if name == RECORDED_ENVIRONMENT:
        return dataclasses.replace(_recorded(source, success_timing), frame_stack=frame_stack)
    found = recorded_in(source)
    effects = found.picture_effects and not (is_visual(name) and isinstance(source, Collected))
    return Environment(name, success_timing, keys=found.keys, frame_stack=frame_stack, picture_effects=effects)


def recorded_in(source: Source) -> RecordedIn:
    """What the data says of the environment that it was recorded in."""
    if not isinstance(source, UserData):
        return RecordedIn()
    reader, path = reader_of(source.path, source.reader)
    return reader_named(reader).recorded_in(path, source.columns)


def dataset_name(address: str, reader: str | None = None) -> str:
    """The name that the data at an address gives itself; empty if it gives none. Nothing is downloaded."""
    prefix, colon, name = address.partition(":")
    if colon and prefix == "minari" and not os.path.exists(os.path.expanduser(name)):
        return name
    try:
        found, path = reader_of(address, reader)
        return reader_named(found).recorded_in(path, Columns()).dataset
    except DataError:  # which `load_task` says
        return ""


def _recorded(source: Source, success_timing: SuccessTiming) -> Environment:
    """The environment that the data names, with everything that its name does not say."""
    found = recorded_in(source)
    where = f"{source.path}" if isinstance(source, UserData) else "OGBench's data"
    other = f"name another for the task, or {NO_ENVIRONMENT!r} to play no episodes"
    if found.environment is None:
        raise DataError(f"{where} does not say in which environment it was recorded: name it for the task, or 'none'.")
    if found.wrappers:
        raise DataError(
            f"{where} was recorded in {found.environment} within {', '.join(found.wrappers)}, and no wrappers are made "
            f"from a file: register the wrapped environment and name it for the task, or {NO_ENVIRONMENT!r}."
        )
    environment = Environment(
        found.environment,
        success_timing,
        arguments=found.arguments,
        keys=found.keys,
        reference=found.reference,
        named_by=found.dataset or "the data",
    )
    try:
        _ = environment.task
    except UnknownTaskError as error:
        if isinstance(error.__cause__, ImportError):
            raise
        raise UnknownTaskError(
            f"{where} was recorded in {found.environment}, which is registered nowhere here: import what registers "
            f"it, {other}."
        ) from error
    return environment
