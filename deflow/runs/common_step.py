"""Where runs that are trained together go on from: the newest step of which each has a sound checkpoint."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxtyping import PyTree

from deflow.runs.checkpoints import Checkpoints
from deflow.runs.errors import CheckpointError, RunWarning
from deflow.runs.manifest import DamagedError

Like = PyTree | Callable[[dict[str, Any]], PyTree]
Restored = tuple[list[PyTree], list[dict[str, Any]], int]


def restore_together(folders: Sequence[Checkpoints], stopped: Mapping[int, int], like: Like) -> Restored | None:
    """States, notes and step of the newest step of which every folder has a sound checkpoint.

    `stopped` gives the step at which the run of a folder stopped. From there on it counts no more, and its state is
    that of a sound checkpoint of its own, the newest up to the step if there is one, or else that of another folder.

    `None` where there is no checkpoint, or only a first one that not all of them finished. Damaged checkpoints that
    are newer than those used are named in a `RunWarning` each. Raises `CheckpointError` where no step is left.
    """
    have = [folder.steps() for folder in folders]
    damage: dict[Path, str] = {}
    absent: list[str] = []
    for step in sorted(set[int]().union(*have), reverse=True):
        going = [index for index in range(len(folders)) if step < stopped.get(index, step + 1)]
        without = [str(folders[index].directory) for index in going if step not in have[index]]
        if without or not going:
            absent.append(f"step {step} is not in {', '.join(without)}")
            continue
        found = {index: _read(folders[index], [step], like, damage) for index in going}
        if all(found.values()):
            break
    else:
        if not damage and all(len(steps) <= 1 for steps in have):
            return None
        tried = "; ".join([*(f"{path}: {reason}" for path, reason in damage.items()), *absent])
        raise CheckpointError(
            f"There is no step of which all runs have a sound checkpoint ({tried}); train again or restore a copy."
        )
    for index in set(range(len(folders))).difference(going):
        own = [at for at in reversed(have[index]) if at <= step] + [at for at in have[index] if at > step]
        found[index] = _read(folders[index], own, like, damage) or _read(folders[going[0]], [step], like, damage)
    for path, reason in damage.items():
        warnings.warn(f"{path} is damaged ({reason}); using step {step} instead.", RunWarning, stacklevel=3)
    states, notes = zip(*(found[index] for index in range(len(folders))), strict=True)
    return list(states), list(notes), step


def _read(
    folder: Checkpoints, steps: Sequence[int], like: Like, damage: dict[Path, str]
) -> tuple[PyTree, dict[str, Any]] | None:
    """State and notes of the first of `steps` that is sound; the others go into `damage`."""
    for step in steps:
        try:
            return folder.read(step, like)
        except DamagedError as error:
            damage[folder.directory / str(step)] = str(error)
    return None
