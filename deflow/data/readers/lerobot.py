"""LeRobot's folders: https://huggingface.co/docs/lerobot/lerobot-dataset-v3, and their older layout of one file for
each episode (v2.0 and v2.1)."""

import fnmatch
import json
import math
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ...errors import DatasetFileError
from .arrow import flags, numbers, parquet_columns, parquet_names, scalars
from .base import AbstractReader, Columns, Recording, register
from .choosing import check_rewards_are_kept, observation_and_action, single
from .joining import coordinates, episode_ends, joined

VERSIONS = ("v2.0", "v2.1", "v3.*")
"""The values of `codebase_version` that are read."""

EPISODES = "data/chunk-*/*.parquet"
"""Where files lie if `meta/info.json` does not say."""

FLAGS = ("termination", "truncation", "done", "success")
"""What is 0 or 1 in every row."""

Info = Mapping[str, Any]


@register("lerobot")
class LeRobot(AbstractReader):
    """A folder of LeRobot's. The next state is the next row's: an episode's last row has none.

    What it holds | rewards | terminations
    --- | --- | ---
    `next.reward` and `next.success` | `next.reward` | an episode's last row, if it is a success
    `next.reward` alone | `next.reward` | none known
    `next.success` alone | 1 at a success, otherwise 0 | an episode's last row, if it is a success
    neither: demonstrations | 1 at an episode's last row, otherwise 0 | an episode's last row
    """

    def suits(self, path: pathlib.Path) -> bool:
        return (path / "meta" / "info.json").is_file() or next(path.glob("data/chunk-*/*.parquet"), None) is not None

    def read(self, path: pathlib.Path, columns: Columns) -> Recording:
        info = _info(path)
        sizes, left = _features(path, info)
        chosen = _chosen(path, list(sizes), columns)
        source = _rows(path, info, chosen, sizes)
        several = {"observations": chosen["observation"], "actions": chosen["action"]}
        assumed = [f"{name} = {', '.join(each)}" for name, each in several.items()]
        if columns.episode is not None:
            assumed.append(f"episode = {columns.episode}")
        cells = {field: source[names[0]] for field, names in chosen.items() if field not in ("observation", "action")}
        found, rules = _outcomes(path, cells, {field: names[0] for field, names in chosen.items()})
        if left:
            assumed.append(f"left out: {', '.join(left)}")
        if isinstance(tasks := info.get("total_tasks"), int) and tasks > 1:
            assumed.append(f"its {tasks} tasks are one: the observation does not say which it is")
        if isinstance(splits := info.get("splits"), dict) and len(splits) > 1:
            assumed.append(f"its splits ({', '.join(splits)}) are read together")
        for name, each in several.items():
            found[name] = joined(path, source, each, name)
        return Recording(
            found, (*assumed, *rules), names={name: _names(info, source, each) for name, each in several.items()}
        )


def _info(path: pathlib.Path) -> Info:
    """What `meta/info.json` says."""
    file = path / "meta" / "info.json"
    if not path.is_dir():
        raise DatasetFileError(f"{path} is no folder, and a LeRobot set is one: give the folder that contains meta.")
    if not file.is_file():
        raise DatasetFileError(f"{path} has no meta/info.json, which describes a LeRobot set: fetch the whole folder.")
    try:
        info = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetFileError(f"{file} is truncated or damaged ({type(error).__name__}): fetch it again.") from error
    version = info.get("codebase_version") if isinstance(info, dict) else None
    if not any(fnmatch.fnmatch(str(version), known) for known in VERSIONS):
        raise DatasetFileError(
            f"{file} is of the codebase_version {version!r}, and {', '.join(VERSIONS)} are read: convert the set with "
            "LeRobot's own scripts."
        )
    features = info.get("features")
    if not isinstance(features, dict) or not all(isinstance(feature, dict) for feature in features.values()):
        raise DatasetFileError(f"{file} has no features, which describe the set's columns: fetch it again.")
    return info


def _features(path: pathlib.Path, info: Info) -> tuple[dict[str, int], list[str]]:
    """The features that are numbers, with how many numbers each has, and the others in words."""
    sizes, left = {}, []
    for name, feature in info["features"].items():
        kind, shape = feature.get("dtype"), feature.get("shape", [1])
        if not re.fullmatch(r"u?int\d+|b?float\d+|bool", str(kind)):
            left.append(f"{name} ({kind})")
        elif not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
            raise DatasetFileError(f"{path / 'meta' / 'info.json'} has {name} of shape {shape!r}: fetch it again.")
        else:
            sizes[name] = math.prod(shape)
    return sizes, left


def _chosen(path: pathlib.Path, available: list[str], columns: Columns) -> dict[str, tuple[str, ...]]:
    """The columns of every field of `Columns`, and those of a success and of the end of an episode, if there are."""
    chosen = observation_and_action(
        path, available, columns.observation or ["observation.state"], columns.action or ["action"]
    )
    chosen["episode"] = (single(path, available, columns.episode or "episode_index", "episode"),)
    for field in ("reward", "termination", "truncation", "time"):
        if (given := getattr(columns, field)) is not None:
            chosen[field] = (single(path, available, given, field),)
    defaults = {"reward": ["next.reward"], "time": ["frame_index", "timestamp"]}
    defaults |= {"done": ["next.done"], "success": ["next.success"]}
    for field, names in defaults.items():
        if field not in chosen and (there := [name for name in names if name in available]):
            chosen[field] = (there[0],)
    return chosen


def _files(path: pathlib.Path, info: Info) -> list[pathlib.Path]:
    """The Parquet files, in the order of their numbers."""
    pattern = re.sub(r"\{[^}]*\}", "*", str(info.get("data_path") or EPISODES))
    if pattern.startswith("/") or ".." in pattern.split("/"):
        raise DatasetFileError(f"{path} has the data_path {info['data_path']!r}, which leaves its folder: correct it.")
    try:
        found = list(path.glob(pattern))
    except (OSError, ValueError, NotImplementedError):
        found = []
    files = sorted(found, key=lambda file: [int(number) for number in re.findall(r"\d+", str(file))])
    if not files:
        raise DatasetFileError(f"{path} has no files {pattern}: fetch the whole folder, with its data.")
    return files


def _rows(
    path: pathlib.Path, info: Info, chosen: Mapping[str, tuple[str, ...]], sizes: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """The columns, of all files."""
    read = {name: numbers if field in ("observation", "action") else scalars for field, name in _pairs(chosen)}
    read |= {name: flags for field, name in _pairs(chosen) if field in FLAGS}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in read}
    for file in _files(path, info):
        there = parquet_names(file)
        if missing := [name for name in read if name not in there]:
            raise DatasetFileError(f"{file} has no column {missing[0]!r}, which meta/info.json names: fetch it again.")
        for name, column in parquet_columns(file, list(read)).items():
            values = read[name](file, name, column)
            if (size := math.prod(values.shape[1:])) != sizes[name]:
                raise DatasetFileError(
                    f"{file} has {size} numbers per row in the column {name!r}, but meta/info.json says {sizes[name]}: "
                    "fetch both again."
                )
            parts[name].append(values)
    rows = sum(map(len, parts[chosen["episode"][0]]))
    if not rows or rows != info.get("total_frames", rows):
        raise DatasetFileError(
            f"{path} has {rows:,} rows, but meta/info.json says {info.get('total_frames', 'that there are some')}: "
            "files are missing, so fetch the whole folder."
        )
    return {name: np.concatenate(each) for name, each in parts.items()}


def _outcomes(
    path: pathlib.Path, cells: Mapping[str, np.ndarray], said: Mapping[str, str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Rewards, the flags that mark where trajectories end, and the rules. `said` are the columns' names."""
    last, _ = episode_ends(cells["episode"], None)
    ends, rule = episode_ends(cells["episode"], cells.get("time"))
    rules = [f"trajectories end {rule}"]
    for field in ("done", "truncation"):
        if field in cells and (more := cells[field] & ~ends).any():
            rules.append(f"{int(more.sum()):,} more trajectories end where {said[field]} is 1")
            ends = ends | more
    terminated, success = cells.get("termination"), cells.get("success")
    if terminated is not None:
        rules.append(f"terminations = {said['termination']}")
    elif success is not None:
        terminated = last & success
        rules.append(f"an episode terminates at its last row if {said['success']} is 1 there")
    if "reward" in cells:
        rewards = cells["reward"].astype(np.float32)
        rules.append(f"rewards = {said['reward']}")
    elif success is not None:
        rewards = success.astype(np.float32)
        rules.append(f"rewards = {said['success']}, since there are no others")
    elif terminated is not None:
        raise DatasetFileError(
            f"{path} has no rewards, and a termination may be good or bad: name the column of the reward "
            "(columns.reward), too."
        )
    else:
        terminated = last & ~cells.get("truncation", np.zeros(len(last), bool))
        rewards = terminated.astype(np.float32)
        rules.append(
            "the set has neither rewards nor successes, so its episodes are taken for demonstrations that succeed: an "
            "episode terminates at its last row with the reward 1, and all other rewards are 0"
        )
    check_rewards_are_kept(path, rewards, ends, terminated)
    if terminated is None:
        return {"rewards": rewards, "terminals": ends}, rules
    return {"rewards": rewards, "terminations": terminated, "truncations": ends & ~terminated}, rules


def _pairs(chosen: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Fields with names, one by one."""
    return [(field, name) for field, names in chosen.items() for name in names]


def _names(info: Info, source: Mapping[str, np.ndarray], columns: Iterable[str]) -> tuple[str, ...]:
    """The names of the coordinates: of the features, if they name every one."""
    found: list[str] = []
    for column in columns:
        names, own = info["features"][column].get("names"), coordinates(source, [column])
        if isinstance(names, dict) and len(names) == 1:  # {"motors": [...]}
            names = next(iter(names.values()))
        good = isinstance(names, list) and len(names) == len(own)
        found += map(str, names) if good and isinstance(names, list) else own
    return tuple(found)
