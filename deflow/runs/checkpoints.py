"""Checkpoints of one run: one directory per step, whole or not there, verified when read."""

import json
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from deflow.runs import storage
from deflow.runs.errors import CheckpointError, RunWarning
from deflow.runs.leaves import compare, fill, flatten, from_host, named_arrays, within
from deflow.runs.manifest import DamagedError, verify, write_manifest

_UNFINISHED = ".saving-"


class Checkpoints:
    """The checkpoints below `directory`, which appears with the first of them. One process at a time may save."""

    def __init__(self, directory: Path):
        self.directory = directory

    def steps(self) -> list[int]:
        """Steps that have a directory, ascending. Whether they are sound shows when they are read."""
        if not self.directory.is_dir():
            return []
        names = (path.name for path in self.directory.iterdir() if path.is_dir())
        return sorted(int(name) for name in names if name.isdecimal() and str(int(name)) == name)

    def save(self, step: int, state: PyTree, notes: Mapping[str, Any]) -> Path:
        """Save the arrays of `state` and the JSON-able `notes`, and give the directory. An older one of this step goes.

        Raises `CheckpointError` and leaves no trace where that fails; the checkpoints there were stay.
        """
        spec, arrays = named_arrays(state)
        try:
            notes = json.loads(json.dumps(dict(notes)))
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"Cannot save notes: {error}; give plain JSON values.") from error
        target, staging = self.directory / str(step), None
        try:
            self.directory.mkdir(exist_ok=True)
            self._sweep()
            staging = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=self.directory))
            new = staging / str(step)
            storage.write(new, arrays, notes)
            write_manifest(new, step, spec)
            if target.exists():
                target.rename(staging / "replaced")
            new.rename(target)
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise CheckpointError(
                f"Cannot save the checkpoint of step {step} to {self.directory}: {_first_line(error)}; "
                "free space or restore the directory."
            ) from error
        finally:
            if staging is not None:
                shutil.rmtree(staging, ignore_errors=True)
        return target

    def restore(self, like: PyTree, step: int | None = None, *, part: str = "") -> tuple[PyTree, dict[str, Any], int]:
        """State, notes and step of the newest sound checkpoint, or of the one of `step`.

        `like` gives the structure: arrays or `jax.ShapeDtypeStruct`s where the checkpoint has arrays; its other leaves
        are kept. With `part`, a path such as `agent`, only that part of the saved state is read, and `like` is like it.

        Damaged checkpoints newer than the one used are named in a `RunWarning` each. Raises `CheckpointError` where no
        sound one is left, the one of `step` is damaged, or the checkpoint's arrays are not those of `like`.
        """
        steps = self.steps()
        if step is not None and step not in steps:
            have = f"it has {', '.join(map(str, steps))}" if steps else "it has none"
            raise CheckpointError(f"There is no checkpoint of step {step} in {self.directory}: {have}; choose another.")
        damage: dict[int, str] = {}
        for candidate in reversed(steps) if step is None else [step]:
            try:
                state, notes = self._read(like, candidate, part)
            except DamagedError as error:
                damage[candidate] = str(error)
                continue
            for skipped, reason in damage.items():
                where = self.directory / str(skipped)
                warnings.warn(
                    f"{where} is damaged ({reason}); using step {candidate} instead.", RunWarning, stacklevel=3
                )
            return state, notes, candidate
        tried = "; ".join(f"step {skipped}: {reason}" for skipped, reason in damage.items()) or "there is none"
        raise CheckpointError(f"No sound checkpoint in {self.directory} ({tried}); train again or restore a copy.")

    def _read(self, like: PyTree, step: int, part: str) -> tuple[PyTree, dict[str, Any]]:
        directory = self.directory / str(step)
        spec = {name: leaf for name, leaf in verify(directory, step).items() if within(name, part)}
        differences = compare(flatten(like, part), spec)
        if differences:
            raise CheckpointError(
                f"The checkpoint {directory} is of another state; build it from the run's own config.json. "
                f"These leaves differ:\n  " + "\n  ".join(differences),
                differences,
            )
        try:
            arrays, notes = storage.read(directory, spec)
        except Exception as error:  # Orbax and TensorStore raise many kinds
            raise DamagedError(f"Orbax cannot read it: {_first_line(error)}") from error
        return fill(like, {name: from_host(arrays[name], leaf) for name, leaf in spec.items()}, part), notes

    def _sweep(self) -> None:
        """Remove what a killed process left of its save."""
        for left in self.directory.glob(_UNFINISHED + "*"):
            shutil.rmtree(left, ignore_errors=True)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
