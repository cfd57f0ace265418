"""The user's own Python files: run here and in every worker process, so that what they register is known there."""

import hashlib
import importlib.util
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from ..errors import DataError

_imported: dict[Path, str] = {}
"""Absolute paths of the files that were run in this process, and their SHA-256."""


def import_file(path: Path) -> None:
    """Run a file as a module named after it, and its digest too where another file has that name.

    Raises:
        FileNotFoundError: If there is no such file.
        ImportError: If its name does not end in `.py`, or is that of a module of Python's own.
        Exception: Whatever the file raises.
    """
    path = path.absolute()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    name = re.sub(r"\W", "_", path.stem)
    if name in sys.stdlib_module_names:
        raise ImportError(f"Python has a module named {name} of its own: rename the file")
    if any(other != path and other.stem == path.stem for other in _imported):
        name = f"{name}_{digest[:8]}"
    specification = importlib.util.spec_from_file_location(name, path)
    if specification is None or specification.loader is None:
        raise ImportError("not a Python file (its name must end in .py)")
    if str(path.parent) not in sys.path:  # as for a script, but after everything else: what lies beside it is found
        sys.path.append(str(path.parent))
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    specification.loader.exec_module(module)
    _imported[path] = digest


def imported_files() -> tuple[tuple[str, str], ...]:
    """Path and SHA-256 of every file that was run, in order: what another process must run, too."""
    return tuple((str(path), digest) for path, digest in _imported.items())


def import_same_files(files: Iterable[tuple[str, str]]) -> None:
    """Run the files that another process ran, unless they were run here.

    Raises:
        DataError: If a file is gone, or has changed since.
    """
    for path, digest in files:
        if _imported.get(Path(path)) == digest:
            continue
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise DataError(f"{path} was imported, and cannot be read any more: {error.strerror or error}.") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise DataError(f"{path} has changed since it was imported: start again.")
        import_file(Path(path))
