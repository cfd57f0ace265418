"""Named arrays and notes in one Orbax directory. Everything Orbax is here."""

import contextlib
import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

from deflow.runs.leaves import Leaf

_ONE_AT_A_TIME = threading.Lock()


def write(directory: Path, arrays: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
    """Write to the new `directory`: items `state` (arrays) and `notes` (JSON). Raises whatever Orbax raises."""
    # Orbax refuses arrays without entries and states without arrays; the spec says all there is to know of them.
    state = {name: array for name, array in arrays.items() if array.size}
    items: dict[str, Any] = {"notes": ocp.args.JsonSave(notes)}
    if state:
        items["state"] = ocp.args.PyTreeSave(state)
    with _orbax() as orbax:
        orbax.save(directory, ocp.args.Composite(**items))


def read_notes(directory: Path) -> dict[str, Any]:
    """The notes, of which shapes of the arrays may depend. Raises whatever Orbax raises."""
    with _orbax() as orbax:
        return orbax.restore(directory, ocp.args.Composite(notes=ocp.args.JsonRestore()))["notes"]


def read_arrays(directory: Path, spec: Mapping[str, Leaf]) -> dict[str, np.ndarray]:
    """The arrays in `spec`, others not being read. Raises whatever Orbax raises."""
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
def _orbax() -> Iterator[ocp.Checkpointer]:
    """A checkpointer that keeps to itself what it would tell the log; one at a time, also among threads."""
    # Weights hardly compress (8%), and trying costs more than writing. The handlers are named here rather than
    # looked up from what the files say.
    arrays = ocp.PyTreeCheckpointHandler(use_compression=False)
    handler = ocp.CompositeCheckpointHandler(state=arrays, notes=ocp.JsonCheckpointHandler())
    log = logging.getLogger("absl")
    with _ONE_AT_A_TIME:
        level = log.level
        log.setLevel(logging.CRITICAL)
        try:
            with contextlib.closing(ocp.Checkpointer(handler)) as checkpointer:
                yield checkpointer
        finally:
            log.setLevel(level)
