"""What a checkpoint's directory must hold, byte for byte: written last, believed only where everything agrees."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deflow.runs.files import read_json, write_json
from deflow.runs.leaves import Leaf

NAME = "manifest.json"
VERSION = 1


class DamagedError(Exception):
    """A checkpoint's directory is not what was written; the message says in a few words what is wrong."""


def write_manifest(directory: Path, step: int, spec: Mapping[str, Leaf]) -> None:
    """Record size and SHA-256 of every file below `directory`, and the state's arrays. Raises `RunError`, `OSError`."""
    content = {
        "version": VERSION,
        "step": step,
        "files": {name: _fingerprint(path) for name, path in sorted(_files(directory).items())},
        "leaves": {name: dataclasses.asdict(leaf) for name, leaf in spec.items()},
    }
    write_json(directory / NAME, {"sha256": _digest(content), "manifest": content})


def verify(directory: Path, step: int) -> dict[str, Leaf]:
    """The spec of a checkpoint of which no file has changed since it was written; raises `DamagedError` otherwise."""
    content = _read(directory)
    if content["step"] != step:
        raise DamagedError(f"it is the checkpoint of step {content['step']}")
    present = _files(directory)
    for name, expected in content["files"].items():
        if name not in present:
            raise DamagedError(f"{name} is missing")
        try:
            found = _fingerprint(present[name])
        except OSError as error:
            raise DamagedError(f"{name} cannot be read: {error.strerror or error}") from error
        if found["bytes"] != expected["bytes"]:
            raise DamagedError(f"{name} has {found['bytes']} bytes instead of {expected['bytes']}")
        if found["sha256"] != expected["sha256"]:
            raise DamagedError(f"{name} has changed since it was written")
    return {name: Leaf(**{**leaf, "shape": tuple(leaf["shape"])}) for name, leaf in content["leaves"].items()}


def _read(directory: Path) -> dict[str, Any]:
    try:
        document = read_json(directory / NAME)
        content = document["manifest"]
        if document["sha256"] != _digest(content):
            raise DamagedError(f"{NAME} has changed since it was written")
        if content["version"] > VERSION:
            raise DamagedError(f"{NAME} has version {content['version']}, this deflow reads up to {VERSION}")
    except FileNotFoundError:
        empty = directory.is_dir() and not any(directory.iterdir())
        raise DamagedError("the directory is empty" if empty else f"{NAME} is missing") from None
    except OSError as error:
        raise DamagedError(f"{NAME} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{NAME} is no manifest") from error
    return content


def _files(directory: Path) -> dict[str, Path]:
    found = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(directory).as_posix(): path for path in found if path != directory / NAME}


def _fingerprint(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
