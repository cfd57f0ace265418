"""Atomic file writes, and checking that a directory is writable before any long work."""

import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..paths import absolute

TRIAL_BYTES = 1 << 20
"""Bytes that `writable_directory` writes and removes again: enough to notice a full disk."""


def writable_directory(path: str | os.PathLike[str], trial_bytes: int = TRIAL_BYTES) -> Path:
    """Make `path` with its parents, prove that `trial_bytes` bytes can be written there, and return it absolute.

    Raises:
        RunError: If it cannot be made (a parent is a file, no permission) or written to (a full disk).
    """
    directory = absolute(path)
    if "\\" in str(directory) or any(part.endswith(":") for part in directory.parts):
        raise RunError(f"Checkpoints cannot be written to {directory}: use no backslash and no colon at a name's end.")
    try:
        str(directory).encode()
    except UnicodeEncodeError as error:  # Orbax writes UTF-8, so a name that was read as ASCII would save nothing
        raise RunError(
            f"Checkpoints cannot be written below {os.fsencode(directory)!r}, since this system's locale is "
            f"{sys.getfilesystemencoding()}: set PYTHONUTF8=1, or choose a directory with an ASCII name."
        ) from error
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        obstacle = next((part for part in (directory, *directory.parents) if part.exists()), directory)
        reason = f"{obstacle} is a file" if not obstacle.is_dir() else (error.strerror or str(error))
        raise RunError(f"Cannot make the directory {directory}: {reason}; choose another directory.") from error
    try:
        with tempfile.TemporaryFile(dir=directory) as trial:
            trial.write(bytes(trial_bytes))
            trial.flush()
            os.fsync(trial.fileno())
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(
            f"Cannot write to {directory}: {reason}; free some space or choose another directory."
        ) from error
    return directory


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically: a reader, or a crash, finds either the old file or the new one.

    Raises:
        OSError: If it cannot be written. The old file is unchanged.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(partial, "w", encoding="utf-8", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write `content` as JSON, atomically.

    Raises:
        RunError: If a value is not valid in JSON, or the file cannot be written.
    """
    try:
        text = json.dumps(content, indent=2)
    except (TypeError, ValueError) as error:
        raise RunError(
            f"Cannot write {path.name}: {error}; give plain numbers, strings, booleans, lists and dictionaries."
        ) from error
    try:
        write_text(path, text + "\n")
    except OSError as error:
        raise RunError(
            f"Cannot write {path}: {error.strerror or error}; free some space or choose another place."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The dictionary in a JSON file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it does not contain a dictionary.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object, got {type(content).__name__}")
    return content
