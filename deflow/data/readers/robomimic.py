"""Robomimic's HDF5 files: https://robomimic.github.io/docs/datasets/overview.html."""

import json
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...errors import DatasetFileError
from ..validation import check_flags
from .base import AbstractReader, Columns, Recording, register
from .choosing import check_rewards_are_kept, single
from .hdf5 import arrays, check_rows, groups, layout, numbers, one_per_row, opened, subgroups
from .joining import coordinates, joined, matching
from .keys import chosen_keys

EXTRACT = "extract it with robomimic's dataset_states_to_obs.py"
"""What to do about files that contain states alone."""

GYMNASIUM = 2
"""The type of Gymnasium's environments in `env_args`."""


@register("robomimic")
class Robomimic(AbstractReader):
    """A group `data` with a group for each demo: `obs/KEY`, perhaps `next_obs/KEY`, `actions`, `rewards`, `dones`.

    A trajectory is a demo. The observation joins all keys whose rows are vectors, in alphabetical order. Demos that
    `mask/valid` names are held out. A step's mask is 0 where `dones` is 1 and, if rewards are only 0 and 1, so is the
    reward: robomimic writes `dones` at successes, at the ends of demos, or at both.
    """

    def suits(self, path: pathlib.Path) -> bool:
        return layout(path) == "demos"

    def read(self, path: pathlib.Path, columns: Columns) -> Recording:
        if given := [field for field in ("episode", "time") if getattr(columns, field) is not None]:
            raise DatasetFileError(f"{path} has a demo for each episode: leave columns.{given[0]} out.")
        with opened(path) as file:
            demos = _demos(path, file)
            train, valid, assumed = _split(path, file, list(demos))
            chosen, decided = _chosen(path, next(iter(demos)), next(iter(demos.values())), columns)
            following = {f"next_{name}": name for name in chosen["observations"]}
            follows = [not set(following) - set(arrays(demo)) for demo in demos.values()]
            if any(follows) and not all(follows):
                decided.append(f"next_obs is left out: {len(follows) - sum(follows):,} demos have none")
            if all(follows) and following:
                chosen["next_observations"] = tuple(following)
            source = {name: _rows(path, name, demo, chosen) for name, demo in demos.items()}
            environment, where = _environment(file["data"].attrs.get("env_args"))
        _check_shapes(path, source)
        found, rules = _recording(path, [source[name] for name in train], chosen)
        held_out = _recording(path, [source[name] for name in valid], chosen)[0] if valid else None
        lowest = min(float(each["actions"].min()) for each in (found, held_out) if each is not None)
        highest = max(float(each["actions"].max()) for each in (found, held_out) if each is not None)
        bounds, size = None, int(np.prod(found["actions"].shape[1:], dtype=int))
        if chosen["actions"] == ("actions",) and lowest >= -1 and highest <= 1:
            bounds = -np.ones(size), np.ones(size)
            rules.append("actions are in [-1, 1], as robomimic wants them")
        first = source[train[0]]
        names = {name: coordinates(first, chosen[name]) for name in ("observations", "actions")}
        names["observations"] = tuple(name.removeprefix("obs/") for name in names["observations"])
        return Recording(
            found,
            (*decided, *rules, *assumed, *where),
            Recording(held_out, names=names) if held_out is not None else None,
            environment,
            bounds,
            names,
        )


def _demos(path: pathlib.Path, file: Any) -> dict[str, Any]:
    """The demos by name, in the order of their numbers."""
    data = subgroups(file).get("data")
    found = {} if data is None else subgroups(data)
    if not found:
        raise DatasetFileError(f"{path} has no demos (data/demo_0, data/demo_1, ...): save them, or name its reader.")

    def natural(name: str) -> list[str | int]:
        return [int(part) if index % 2 else part for index, part in enumerate(re.split(r"(\d+)", name))]

    return {name: found[name] for name in sorted(found, key=natural)}


def _split(path: pathlib.Path, file: Any, demos: list[str]) -> tuple[list[str], list[str], list[str]]:
    """The demos to train on, those that are held out, and the rule."""
    masks = {name: _mask(path, file, name, demos) for name in ("train", "valid")}
    valid = [name for name in demos if name in (masks["valid"] or ())]
    if not valid:
        return demos, [], []
    if both := [name for name in valid if name in (masks["train"] or ())]:
        raise DatasetFileError(f"{path} has {both[0]} in mask/train and in mask/valid: leave it out of one of them.")
    train = [name for name in demos if name not in valid]
    if not train:
        raise DatasetFileError(f"{path} has all of its demos in mask/valid, and none to train on: shorten it.")
    rule = [f"{len(valid):,} demos are held out, as mask/valid says"]
    if masks["train"] is not None and (more := [name for name in train if name not in masks["train"]]):
        rule.append(f"{len(more):,} demos are in neither mask, and are trained on")
    return train, valid, rule


def _mask(path: pathlib.Path, file: Any, name: str, demos: list[str]) -> set[str] | None:
    """The demos that a mask names; None if there is no such mask."""
    mask = file.get(f"mask/{name}")
    if mask is None:
        return None
    if isinstance(mask, groups()) or mask.dtype.kind not in "SO" or len(mask.shape or ()) != 1:
        raise DatasetFileError(f"{path} has no list of demos in mask/{name}: write their names there, or delete it.")
    found = {each.decode() if isinstance(each, bytes) else str(each) for each in mask[()]}
    if absent := sorted(found - set(demos)):
        raise DatasetFileError(
            f"{path} has {absent[0]!r} in mask/{name}, but no such demo ({len(absent):,} of {len(found):,} are "
            "absent): fetch it again, or correct the mask."
        )
    return found


def _chosen(
    path: pathlib.Path, demo: str, group: Any, columns: Columns
) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """The arrays of a demo by deflow's names (and `terminations`, `truncations`), and what was decided."""
    there = arrays(group)
    keys = {name.removeprefix("obs/"): name for name in sorted(there) if name.startswith("obs/")}
    others = [name for name in sorted(there) if not name.startswith(("obs/", "next_obs/"))]
    if columns.observation == ("states",) and "states" in there:
        keys = {"states": "states"}
    if not keys:
        raise DatasetFileError(
            f"{path} has no obs in {demo}: {EXTRACT}, or take the simulator's states (columns.observation states)."
        )
    shapes = {key: tuple((there[name].shape or ())[1:]) for key, name in keys.items()}
    names, decided = chosen_keys(path, shapes, columns.observation, "observation")
    chosen = {"observations": tuple(keys[name] for name in names)}
    chosen["actions"] = matching(path, others, columns.action or ("actions",), "action")
    if columns.action:
        decided.append(f"actions = {', '.join(chosen['actions'])}")
    if columns.reward is None and "rewards" not in there:
        raise DatasetFileError(f"{path} has no rewards in {demo}: {EXTRACT}, or name them (columns.reward).")
    chosen["rewards"] = (single(path, others, columns.reward or "rewards", "reward"),)
    for field in ("termination", "truncation"):
        if (given := getattr(columns, field)) is not None:
            chosen[f"{field}s"] = (single(path, others, given, field),)
            decided.append(f"{field}s = {given}")
    if "terminations" not in chosen and "dones" in there:
        chosen["dones"] = ("dones",)
    return chosen, decided


def _rows(path: pathlib.Path, demo: str, group: Any, chosen: dict[str, tuple[str, ...]]) -> dict[str, np.ndarray]:
    """The chosen arrays of one demo."""
    there, wanted = arrays(group), [name for names in chosen.values() for name in names]
    if missing := [name for name in wanted if name not in there]:
        raise DatasetFileError(
            f"{path} has no {missing[0]} in {demo}, although another demo has it: choose others, or save it again."
        )
    found = {name: numbers(path, f"data/{demo}/{name}", there[name]) for name in dict.fromkeys(wanted)}
    for field, names in chosen.items():
        if field not in ("observations", "next_observations", "actions"):
            found[names[0]] = one_per_row(path, f"data/{demo}/{names[0]}", found[names[0]])
    check_rows(path, found, f" in {demo}")
    rows, said = len(found[wanted[0]]), group.attrs.get("num_samples")
    if said is not None and np.any(np.asarray(said) != rows):
        raise DatasetFileError(
            f"{path} has {rows:,} rows in {demo}, but its num_samples says {said}: it was cut, so fetch it again."
        )
    return found


def _check_shapes(path: pathlib.Path, source: dict[str, dict[str, np.ndarray]]) -> None:
    """Check that the rows of all demos have the same shape and kind."""
    first, *others = source
    for demo in others:
        for name, values in source[demo].items():
            if values.shape[1:] != (wanted := source[first][name].shape[1:]):
                raise DatasetFileError(
                    f"{path} has {name} of shape {values.shape[1:]} per row in {demo}, but {wanted} in {first}: "
                    "choose what all demos have alike."
                )


def _recording(
    path: pathlib.Path, demos: Sequence[dict[str, np.ndarray]], chosen: dict[str, tuple[str, ...]]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Columns by deflow's names, and the rules."""
    source = {name: np.concatenate([demo[name] for demo in demos]) for name in demos[0]}
    found = {name: joined(path, source, names, name) for name, names in chosen.items()}
    ends = np.zeros(len(found["rewards"]), bool)
    ends[np.cumsum([len(demo[chosen["rewards"][0]]) for demo in demos]) - 1] = True
    rewards, dones, terminated = found["rewards"], found.pop("dones", None), found.pop("terminations", None)
    cut = found.pop("truncations", np.zeros_like(ends))
    check_flags(path, {"truncations": cut, "dones": ends if dones is None else dones})
    found["terminals"], rules = ends | cut.astype(bool), ["a trajectory is a demo"]
    if terminated is not None:
        check_flags(path, {"terminations": terminated})
        terminated = terminated.astype(bool)
    elif dones is not None:
        terminated = dones.astype(bool)
        if np.isin(rewards, (0, 1)).all():
            failed = int((terminated & ends & (rewards == 0)).sum())
            terminated &= rewards == 1
            rules.append(
                f"an episode terminates where dones and the reward are 1: {failed:,} demos end without, and are cut"
            )
        else:
            rules.append("an episode terminates where dones is 1")
    if terminated is not None:
        found["masks"] = ~terminated
    if "next_observations" not in found:
        check_rewards_are_kept(path, rewards, found["terminals"], terminated)
    return found, rules


def _environment(text: Any) -> tuple[str | None, list[str]]:
    """The Gymnasium id, if it is one, and where the demos were recorded in words."""
    try:
        given = json.loads(text)
        name, kind = given["env_name"], given.get("type", given.get("env_type"))
    except (TypeError, ValueError, KeyError, AttributeError, RecursionError):
        return None, []
    if not isinstance(name, str):
        return None, []
    return (name if kind == GYMNASIUM else None), [f"recorded in {name}"]
