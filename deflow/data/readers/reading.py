"""Finding the reader of a file, a folder or an address."""

import importlib
import os
import pathlib
from types import ModuleType

from ... import paths
from ...errors import DataError, DatasetFileError
from ..kinds import kind_of
from .base import AbstractReader, registry


def reader_of(address: str | os.PathLike[str], name: str | None = None) -> tuple[str, pathlib.Path]:
    """The name of the reader, and where the data lies.

    An address such as `minari:D4RL/pen/human-v2` names its reader itself. Otherwise it is `name`, or the one reader
    that the content suits.

    Raises:
        UnknownNameError: If no reader has this name.
        DataError: If there is nothing at the address, or not exactly one reader suits it.
    """
    prefix, colon, rest = str(address).partition(":")
    if colon and prefix in registry:
        if name is not None and name != prefix:
            raise DataError(f"{address} is read by {prefix}, got the reader {name!r}: leave one of them out.")
        return prefix, registry[prefix]().locate(rest)
    if name is not None:
        return name, registry[name]().locate(str(address))
    path = pathlib.Path(address).expanduser().absolute()
    if not path.exists():
        raise DatasetFileError(f"The data {path} does not exist: check its path.")
    suited = [each for each in registry if registry[each]().suits(path)]
    if len(suited) == 1:
        return suited[0], path
    if suited:
        raise DataError(f"{path} could be read by {' or '.join(suited)}: name one of them as the reader.")
    raise DatasetFileError(
        f"{path} is {kind_of(path)}, which no reader recognises: name one ({', '.join(registry)}), or write one of "
        "your own."
    )


def absolute(address: str) -> str:
    """A path as an absolute one; an address that names its reader as it is."""
    prefix, colon, _ = address.partition(":")
    return address if colon and prefix in registry else str(paths.absolute(address))


def reader_named(name: str) -> AbstractReader:
    """The reader with this name."""
    return registry[name]()


def package(name: str, *, what: str) -> ModuleType:
    """An optional package, imported when it is needed.

    Raises:
        DataError: If it is not installed: `what` needs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DataError(f"{what} needs the package {name.partition('.')[0]}: pip install 'deflow[data]'.") from error
