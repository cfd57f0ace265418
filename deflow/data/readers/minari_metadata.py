"""What the `metadata.json` of a Minari set says: its spaces, the environment that it names, the reference scores."""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

from ...environments import ReferenceScores
from ...errors import DatasetFileError
from .base import RecordedIn

REGISTERS = ("gymnasium_robotics",)
"""Packages whose environments Gymnasium knows once they are imported: part of the environment's name."""

Metadata = Mapping[str, Any]


def folder_of(path: pathlib.Path) -> pathlib.Path:
    """The folder with `metadata.json`: the set's `data`, which may also be given itself, or as its file."""
    if path.is_file():
        return path.parent
    return path / "data" if (path / "data" / "metadata.json").is_file() else path


def read_metadata(path: pathlib.Path) -> Metadata:
    """What `metadata.json` says, with all that is needed.

    Raises:
        DatasetFileError: If it is missing or damaged.
    """
    file = folder_of(path) / "metadata.json"
    if not file.is_file():
        raise DatasetFileError(
            f"{path} has no metadata.json, which describes a Minari set: give the set's folder, with all of its files."
        )
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetFileError(f"{file} is truncated or damaged ({type(error).__name__}): fetch it again.") from error
    types = {"total_episodes": int, "total_steps": int, "data_format": str}
    wrong = [key for key, kind in types.items() if not isinstance(found, dict) or not isinstance(found.get(key), kind)]
    if wrong:
        raise DatasetFileError(f"{file} does not say the {wrong[0]} of a Minari set: fetch it again.")
    spaces = [key for key in ("observation_space", "action_space") if not isinstance(found.get(key), str)]
    if spaces:  # Minari would make the environment that the file names
        raise DatasetFileError(
            f"{file} has no {spaces[0]}, and the environment is not made to find it: write the set with a newer Minari."
        )
    if found["total_episodes"] < 1:
        raise DatasetFileError(f"{path} has no episodes: record at least one.")
    return found


def recorded_in(metadata: Metadata, keys: tuple[str, ...]) -> tuple[RecordedIn, list[str]]:
    """Where the set was recorded and is evaluated, and what is said of it. `keys` are those of its observations.

    As in Minari, the set is evaluated in `eval_env_spec`, or else in `env_spec`.
    """
    recorded, evaluated = (_specification(metadata.get(name)) for name in ("env_spec", "eval_env_spec"))
    decided = []
    if recorded is not None:
        names = ", ".join(argument for argument in recorded["arguments"] if argument != "max_episode_steps")
        decided.append(f"recorded in {recorded['environment']}" + (f" with {names}" if names else ""))
    requirements = metadata.get("requirements")
    if isinstance(requirements, list) and requirements:
        decided.append(f"recorded with {', '.join(map(str, requirements))}")
    dataset = metadata.get("dataset_id")
    dataset = dataset if isinstance(dataset, str) else ""
    reference = _reference(metadata, dataset)
    return RecordedIn(dataset, keys=keys, reference=reference, **(evaluated or recorded or {})), decided


def _specification(text: Any) -> dict[str, Any] | None:
    """The environment that a specification of Gymnasium's names; None if it is none. Nothing is imported or made."""
    try:
        spec = json.loads(text)
        name, entry, arguments = spec["id"], str(spec.get("entry_point")), spec.get("kwargs") or {}
        wrappers = tuple(str(wrapper["name"]) for wrapper in spec.get("additional_wrappers") or ())
        limit = spec.get("max_episode_steps")
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return None
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return None
    arguments = {argument: value for argument, value in arguments.items() if argument != "render_mode"}
    if isinstance(limit, int | float):  # some sets have 1e6
        arguments["max_episode_steps"] = int(limit)
    module = entry.partition(":")[0].partition(".")[0]
    name = f"{module}:{name}" if module in REGISTERS else name
    return {"environment": name, "arguments": arguments, "wrappers": wrappers}


def _reference(metadata: Metadata, dataset: str) -> ReferenceScores | None:
    """The set's reference scores, if it has two in order."""
    low, high = (metadata.get(f"ref_{side}_score") for side in ("min", "max"))
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        return None
    return ReferenceScores(float(low), float(high), f"ref_min_score and ref_max_score of {dataset or 'the set'}")
