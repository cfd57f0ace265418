"""D4RL's HDF5 files: https://github.com/Farama-Foundation/D4RL/wiki/Tasks."""

import dataclasses
import pathlib
from collections.abc import Iterable

import numpy as np

from ...errors import DatasetFileError
from ..endings import FLAGS, differs, jumps
from ..validation import check_flags, check_present
from .arrays import recording
from .base import AbstractReader, Columns, Recording, register
from .hdf5 import arrays, check_rows, layout, numbers, one_per_row, opened

NAMES = ("observations", "actions", "rewards", "next_observations", *FLAGS)
"""The columns that are read by themselves."""


@register("d4rl")
class D4RL(AbstractReader):
    """A flat HDF5 file with one array for each column. `infos/qpos` names an array in a group.

    `terminals` are terminations, `timeouts` are truncations. Where there are no timeouts:

    The file has | trajectories are cut
    --- | ---
    `next_observations` | where the next row's observation is another one
    no `next_observations`, and the state jumps, or the last row is no terminal | unknown: it is refused
    neither | nowhere: they end at `terminals`
    """

    def suits(self, path: pathlib.Path) -> bool:
        return layout(path) == "flat"

    def read(self, path: pathlib.Path, columns: Columns) -> Recording:
        with opened(path) as file:
            there = {name: array for name, array in arrays(file).items() if not name.startswith("metadata/")}
            _check_named(path, list(there), columns)
            single = {columns.reward, columns.termination, columns.truncation, columns.episode, columns.time}
            single |= {"rewards", *FLAGS}

            def load(wanted: Iterable[str]) -> dict[str, np.ndarray]:
                order = sorted(wanted, key=lambda name: (NAMES.index(name) if name in NAMES else len(NAMES), name))
                found = {name: numbers(path, name, there[name]) for name in order}
                check_rows(path, found)
                return {name: one_per_row(path, name, v) if name in single else v for name, v in found.items()}

            found = recording(path, there, columns, load, NAMES)
        if columns.episode is not None or columns.time is not None:
            return found
        check_present(path, found.columns, ("observations", "actions", "rewards"))
        check_flags(path, found.columns)
        return _with_ends(path, found)


def _check_named(path: pathlib.Path, there: list[str], columns: Columns) -> None:
    """Check that there is an observation, an action and a reward."""
    for field in ("observation", "action", "reward"):
        if f"{field}s" not in there and not getattr(columns, field):
            has = ", ".join(there[:12]) + (f" and {len(there) - 12} more" if len(there) > 12 else "")
            raise DatasetFileError(
                f"{path} has no column '{field}s': name the one that is the {field} (columns.{field}); it has "
                f"{has or 'none'}."
            )


def _with_ends(path: pathlib.Path, found: Recording) -> Recording:
    """The recording with the cuts that its file does not mark, if they are known."""
    columns, name = found.columns, "terminations" if "terminations" in found.columns else "terminals"
    others = [flag for flag in ("timeouts", "truncations", "dones") if flag in columns]
    if name not in columns or "masks" in columns:
        return found
    terminated = columns[name].astype(bool)
    if others:
        marked = np.any([columns[other] != 0 for other in others], axis=0)
        if marked[-1] or terminated[-1] or not marked.any() or others == ["dones"]:
            return found  # where no cut at all is marked, the last row's may be one of many
        cuts, rule = columns[others[0]].astype(bool), "the last row ends a trajectory, which the file does not mark"
        cuts[-1] = True
        return _cut(found, others[0], cuts, rule)
    observations = columns["observations"].reshape(len(terminated), -1)
    if "next_observations" in columns:
        following = columns["next_observations"].reshape(len(terminated), -1)
        if following.shape != observations.shape:
            raise DatasetFileError(
                f"{path} has {following.shape[1]} numbers per row in next_observations, but {observations.shape[1]} in "
                "observations: save the same ones in both."
            )
        cuts = ~terminated & np.append(differs(following[:-1], observations[1:]), True)
        if not cuts.any():
            return dataclasses.replace(found, terminals="termination")
        rule = f"there are no timeouts: {int(cuts.sum()):,} trajectories are cut where the next row's observation is "
        return _cut(found, "timeouts", cuts, rule + "not this one's next observation, and at the last row")
    if (broken := jumps(observations, ~terminated[:-1])).any():
        raise DatasetFileError(
            f"{path} has {name} but no timeouts, and its state jumps after {int(broken.sum()):,} rows that are no "
            f"{name}, first after row {int(np.argmax(broken))}, so time limits are not marked: add timeouts, which are "
            "1 at each of them, or next_observations."
        )
    if not terminated[-1]:
        raise DatasetFileError(
            f"{path} has {name} but no timeouts, and its last row is none of them, so it is unknown where time limits "
            "cut trajectories: add timeouts, which are 1 at each cut, or next_observations."
        )
    rule = f"there are no timeouts: trajectories end at {name} alone, which are terminations"
    return dataclasses.replace(found, terminals="termination", assumed=(*found.assumed, rule))


def _cut(found: Recording, name: str, cuts: np.ndarray, rule: str) -> Recording:
    return dataclasses.replace(found, columns={**found.columns, name: cuts}, assumed=(*found.assumed, rule))
