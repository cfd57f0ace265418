"""One checkpoint on disk: arrays and notes written by Orbax, and a manifest that verifies every byte."""

import contextlib
import dataclasses
import glob
import hashlib
import json
import logging
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
import tensorstore

from ..errors import DamagedError
from .atomic_files import read_json, write_json
from .pytrees import Leaf

_ONE_AT_A_TIME = threading.Lock()


def write(directory: Path, arrays: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
    """Write to the new `directory`: items `state` (arrays) and `notes` (JSON).

    Raises:
        Exception: Any error of Orbax.
    """
    # Orbax refuses arrays without entries and states without arrays; the spec says all there is to know of them.
    state = {name: array for name, array in arrays.items() if array.size}
    items: dict[str, Any] = {"notes": ocp.args.JsonSave(notes)}
    if state:
        items["state"] = ocp.args.PyTreeSave(state)
    with _without_patterns(directory) as plain, _orbax() as orbax:
        orbax.save(plain, ocp.args.Composite(**items))


def check_written(directory: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Open what `write` left in `directory`, as reading it will, and look for every array and the notes.

    Raises:
        DamagedError: If one is not there, although no error said so.
    """
    wanted = [name for name, array in arrays.items() if array.size]
    if wanted:
        spec = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{directory / 'state'}/"}}
        keys = {key.decode() for key in tensorstore.KvStore.open(spec).result().list().result()}
        chunks = {key.rpartition("/")[0] for key in keys if not key.endswith("/.zarray")}
        for name in wanted:
            if f"{name}/.zarray" not in keys or name not in chunks:
                raise DamagedError(f"{name} is not in what was written")
    read_notes(directory)


def read_notes(directory: Path) -> dict[str, Any]:
    """The notes, on which the shapes of the arrays may depend.

    Raises:
        Exception: Any error of Orbax.
    """
    with _orbax() as orbax:
        return orbax.restore(directory, ocp.args.Composite(notes=ocp.args.JsonRestore()))["notes"]


def read_arrays(directory: Path, spec: Mapping[str, Leaf]) -> dict[str, np.ndarray]:
    """The arrays in `spec`. Others are not read.

    Raises:
        Exception: Any error of Orbax.
    """
    wanted = {name: np.empty(()) for name, leaf in spec.items() if 0 not in leaf.shape}
    empty = {name: np.empty(leaf.shape, leaf.dtype) for name, leaf in spec.items() if name not in wanted}
    if not wanted:
        return empty
    # Read as NumPy arrays: what was saved on one device must load on another.
    numpy = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in wanted}
    state = ocp.args.PyTreeRestore(item=wanted, restore_args=numpy, partial_restore=True)
    with _orbax() as orbax:
        return {**orbax.restore(directory, ocp.args.Composite(state=state))["state"], **empty}


@contextlib.contextmanager
def _without_patterns(directory: Path) -> Iterator[Path]:
    """A path to the new directory without `[`, `]`, `*` and `?`.

    Orbax's merge takes the path it is given for a pattern: where it holds `[a]` it finds nothing to merge, and leaves
    the arrays where no reader looks.
    """
    if glob.escape(str(directory)) == str(directory):
        yield directory
        return
    with tempfile.TemporaryDirectory(prefix="deflow-link-") as folder:
        link = Path(folder, "checkpoint")
        link.symlink_to(directory.parent, target_is_directory=True)
        yield link / directory.name


@contextlib.contextmanager
def _orbax() -> Iterator[ocp.Checkpointer]:
    """A checkpointer whose log messages are suppressed. There is one at a time, across threads too."""
    # Weights hardly compress (8%), and trying costs more than writing. The handlers are named here rather than
    # looked up from what the files say.
    # Of several processes that train together, one writes, which waits for no other.
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"{me}")
    arrays = ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=alone)
    notes = ocp.JsonCheckpointHandler(multiprocessing_options=alone)
    together = ocp.CompositeOptions(multiprocessing_options=alone)
    handler = ocp.CompositeCheckpointHandler(state=arrays, notes=notes, composite_options=together)
    log = logging.getLogger("absl")
    with _ONE_AT_A_TIME:
        level = log.level
        log.setLevel(logging.CRITICAL)
        try:
            with contextlib.closing(ocp.Checkpointer(handler, multiprocessing_options=alone)) as checkpointer:
                yield checkpointer
        finally:
            log.setLevel(level)


MANIFEST_FILE = "manifest.json"
MANIFEST_VERSION = 1


def write_manifest(directory: Path, step: int, spec: Mapping[str, Leaf]) -> None:
    """Record size and SHA-256 of every file below `directory`, and the state's arrays.

    Raises:
        OSError: If a file cannot be read.
        RunError: If the record cannot be written.
    """
    content = {
        "version": MANIFEST_VERSION,
        "step": step,
        "files": {name: _fingerprint(path) for name, path in sorted(_files(directory).items())},
        "leaves": {name: dataclasses.asdict(leaf) for name, leaf in spec.items()},
    }
    write_json(directory / MANIFEST_FILE, {"sha256": _digest(content), "manifest": content})


def verify(directory: Path, step: int) -> dict[str, Leaf]:
    """The spec of a checkpoint, after a check that no file has changed since it was written.

    Raises:
        DamagedError: If a file has changed, is missing or cannot be read.
    """
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
        document = read_json(directory / MANIFEST_FILE)
        content = document["manifest"]
        if document["sha256"] != _digest(content):
            raise DamagedError(f"{MANIFEST_FILE} has changed since it was written")
        if content["version"] > MANIFEST_VERSION:
            raise DamagedError(
                f"{MANIFEST_FILE} has version {content['version']}, but this deflow reads up to {MANIFEST_VERSION}"
            )
    except FileNotFoundError:
        empty = directory.is_dir() and not any(directory.iterdir())
        raise DamagedError("the directory is empty" if empty else f"{MANIFEST_FILE} is missing") from None
    except OSError as error:
        raise DamagedError(f"{MANIFEST_FILE} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedError(f"{MANIFEST_FILE} is not a manifest") from error
    return content


def _files(directory: Path) -> dict[str, Path]:
    found = (path for path in directory.rglob("*") if path.is_file() and not path.is_symlink())
    return {path.relative_to(directory).as_posix(): path for path in found if path != directory / MANIFEST_FILE}


def _fingerprint(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        return {"bytes": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
