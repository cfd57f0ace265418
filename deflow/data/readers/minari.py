"""Minari's sets: https://minari.farama.org, read with the package `minari`."""

import contextlib
import json
import pathlib
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete

from ...environments import is_nested, is_numeric, leaves
from ...errors import DataError, DatasetFileError, DeflowError, DownloadError, first_line
from ..validation import check_flags
from .base import AbstractReader, Columns, RecordedIn, Recording, register
from .hdf5 import check_rows, layout, one_per_row
from .joining import coordinates, joined
from .keys import chosen_keys
from .minari_metadata import Metadata, folder_of, read_metadata, recorded_in
from .reading import package

NEEDS = "Reading Minari's sets"
"""What needs the package."""

IDENTIFIER = re.compile(r"(?:[-_\w]+/)*[-_\w]+-v\d+")
"""The name of a set, such as `D4RL/pen/human-v2`."""


@register("minari")
class Minari(AbstractReader):
    """A set of Minari's, by its name or by its folder. It is read without the environment that it names.

    A dictionary's entries are joined in the order of its space, which is alphabetical, unless they are named. Those of
    `Discrete` are one number, and not one for each value as `gymnasium.wrappers.FlattenObservation` makes them.
    """

    names_environments: ClassVar[bool] = True

    def locate(self, address: str) -> pathlib.Path:
        path = pathlib.Path(address).expanduser().absolute()
        if path.exists():
            return path
        if not IDENTIFIER.fullmatch(address):
            raise DatasetFileError(
                f"{address} is neither a folder nor the name of a Minari set: check it (minari:D4RL/pen/human-v2)."
            )
        return _local(address)

    def suits(self, path: pathlib.Path) -> bool:
        if layout(path) == "episodes":
            return True
        try:
            metadata = json.loads((folder_of(path) / "metadata.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return False
        return isinstance(metadata, dict) and {"total_episodes", "total_steps"} <= set(metadata)

    def recorded_in(self, path: pathlib.Path, columns: Columns) -> RecordedIn:
        metadata = read_metadata(path)
        space = _storage(path, metadata).observation_space
        keys: tuple[str, ...] = ()
        if is_nested(space):
            numeric = {key: each.shape or () for key, each in leaves(space, "").items() if is_numeric(each)}
            keys, _ = chosen_keys(path, numeric, columns.observation, "observation")
        return recorded_in(metadata, keys)[0]

    def read(self, path: pathlib.Path, columns: Columns) -> Recording:
        if given := [name for name in columns.given() if name not in ("observation", "action")]:
            raise DatasetFileError(f"{path} is a Minari set, which has its own {given[0]}: leave it out.")
        metadata = read_metadata(path)
        storage = _storage(path, metadata)
        spaces = {"observations": leaves(storage.observation_space, "observations")}
        spaces["actions"] = leaves(storage.action_space, "actions")
        names, assumed = {}, []
        for field, patterns in (("observation", columns.observation), ("action", columns.action)):
            numeric = {key: space.shape or () for key, space in spaces[f"{field}s"].items() if is_numeric(space)}
            names[f"{field}s"], decided = chosen_keys(path, numeric, patterns, field)
            assumed += decided
        if index := [key for key in names["observations"] if isinstance(spaces["observations"][key], Discrete)]:
            assumed.append(f"the index {' and '.join(index)} is taken as a number")
        if index := [key for key in names["actions"] if not isinstance(spaces["actions"][key], Box)]:
            kind = type(spaces["actions"][index[0]]).__name__
            raise DatasetFileError(f"{path} has actions of {kind} in {index[0]}, and deflow needs continuous ones.")
        parts: dict[str, list[np.ndarray]] = {}
        unmarked = 0
        for episode in _episodes(path, storage, metadata, spaces, names):
            unmarked += not (episode["terminations"][-1] or episode["truncations"][-1])
            episode["truncations"][-1] |= not episode["terminations"][-1]
            for name, values in episode.items():
                parts.setdefault(name, []).append(values)
        if unmarked:
            assumed.append(f"{unmarked:,} episodes end without a mark, and are cut there")
        found = {name: np.concatenate(values) for name, values in parts.items()}
        if (rows := len(found["rewards"])) != metadata["total_steps"]:
            raise DatasetFileError(
                f"{path} has {rows:,} steps, but its metadata.json says {metadata['total_steps']}: fetch it again."
            )
        where, said = recorded_in(metadata, names["observations"])
        bounds = [
            [getattr(spaces["actions"][key], side).ravel() for key in names["actions"]] for side in ("low", "high")
        ]
        low, high = (np.concatenate(each).astype(np.float64) for each in bounds)
        empty = {name: {key: np.empty((0, *(spaces[name][key].shape or ()))) for key in names[name]} for name in names}
        return Recording(
            found,
            (*assumed, *said),
            environment=where.environment,
            bounds=(low, high) if np.isfinite([low, high]).all() else None,
            names={name: coordinates(empty[name], keys) for name, keys in names.items()},
        )


def _local(identifier: str) -> pathlib.Path:
    """The folder of a set in Minari's own storage, downloaded if it is not there."""
    minari = package("minari", what=NEEDS)
    try:
        folder = package("minari.storage.datasets_root_dir", what=NEEDS).get_dataset_path(identifier)
    except OSError as error:
        raise DataError(
            f"Minari's folder cannot be made ({first_line(error)}): set MINARI_DATASETS_PATH to another one."
        ) from error
    folder = pathlib.Path(folder).absolute()
    if (folder / "data").is_dir():
        return folder
    if folder.exists():
        raise DatasetFileError(f"{folder} has no folder data, so it is no Minari set: delete it to download it again.")
    try:
        minari.download_dataset(identifier)
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)  # half a set would pass for one
        if not isinstance(error, Exception):
            raise
        if isinstance(error, ImportError):
            raise DownloadError(
                f"{identifier} is not in {folder}, and downloading needs huggingface_hub: pip install 'minari[hf]', or "
                "copy the set there."
            ) from error
        raise DownloadError(
            f"{identifier} is not in {folder} and cannot be downloaded ({type(error).__name__}: {_beginning(error)}): "
            "check its name and the network, or copy the set there."
        ) from error
    if not (folder / "data").is_dir():
        raise DownloadError(f"Minari downloaded {identifier}, but not to {folder}: give the folder where it lies.")
    return folder


def _storage(path: pathlib.Path, metadata: Metadata) -> Any:
    """Minari's reader of the set, which knows its spaces."""
    minari = package("minari", what=NEEDS)
    package("h5py" if metadata["data_format"] == "hdf5" else "pyarrow", what=NEEDS)
    version = metadata.get("minari_version", minari.__version__)
    if version not in minari.supported_dataset_versions:
        raise DatasetFileError(
            f"{path} was written by Minari {version}, which {minari.__version__} does not read: pip install -U minari, "
            "or fetch another version of the set."
        )
    with _one_sentence(path):
        return package("minari.dataset.minari_storage", what=NEEDS).MinariStorage.read(folder_of(path))


@contextlib.contextmanager
def _one_sentence(path: pathlib.Path) -> Iterator[None]:
    """Whatever Minari raises becomes one sentence."""
    try:
        yield
    except DeflowError:
        raise
    except ImportError as error:
        raise DataError(f"{NEEDS} needs more packages ({_beginning(error)}): pip install 'deflow[data]'.") from error
    except Exception as error:
        why = f"{type(error).__name__}: {_beginning(error)}"
        raise DatasetFileError(f"{path} cannot be read as a Minari set ({why}): fetch it again.") from error


def _beginning(error: BaseException) -> str:
    """The first sentence of another package's message, without its full stop."""
    return first_line(error).partition(". ")[0].rstrip(".")[:200]


def _episodes(
    path: pathlib.Path, storage: Any, metadata: Metadata, spaces: Mapping[str, Any], names: Mapping[str, Any]
) -> Iterator[dict[str, np.ndarray]]:
    """The columns of each episode, by deflow's names."""
    episodes = iter(())
    for number in range(metadata["total_episodes"]):
        with _one_sentence(path):
            if number == 0:
                episodes = iter(storage.get_episodes(range(metadata["total_episodes"])))
            episode = next(episodes, None)
        where = f" in episode {number}"
        if episode is None:
            raise DatasetFileError(
                f"{path} has {number:,} episodes, but its metadata.json says {metadata['total_episodes']}: fetch it "
                "again."
            )
        found = {}
        for name in ("rewards", "terminations", "truncations"):
            found[name] = one_per_row(path, name, _numbers(path, name + where, episode[name]))
        check_flags(path, {name: found[name] for name in ("terminations", "truncations")})
        found |= {name: found[name].astype(bool) for name in ("terminations", "truncations")}
        for name, keys in names.items():
            values = leaves(episode[name], name)
            if missing := [key for key in keys if key not in values]:
                raise DatasetFileError(f"{path} has no {missing[0]}{where}, but its space has: fetch it again.")
            parts = {key: _numbers(path, key + where, values[key]) for key in keys}
            for key, part in parts.items():
                if part.shape[1:] != (wanted := spaces[name][key].shape or ()):
                    raise DatasetFileError(
                        f"{path} has {key} of shape {part.shape[1:]} per row{where}, but its space says {wanted}: "
                        "fetch it again."
                    )
            check_rows(path, parts, where)
            found[name] = joined(path, parts, keys, name)
        check_rows(path, {name: values for name, values in found.items() if name != "observations"}, where)
        observations = found["observations"]
        if len(observations) != len(found["rewards"]) + 1:
            raise DatasetFileError(
                f"{path} has {len(observations):,} observations for {len(found['rewards']):,} steps{where}: Minari has "
                "one more, after the last step, so record it again."
            )
        yield found | {"observations": observations[:-1], "next_observations": observations[1:]}


def _numbers(path: pathlib.Path, name: str, values: Any) -> np.ndarray:
    """An array of numbers with rows."""
    with _one_sentence(path):
        found = np.asarray(values)
    if found.dtype.kind not in "fiub" or not found.ndim:
        raise DatasetFileError(f"{path} has no array of numbers in {name}: record it again, or leave it out.")
    return found
