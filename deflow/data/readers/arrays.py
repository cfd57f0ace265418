"""Arrays by name: what npz and flat HDF5 files have in common."""

import pathlib
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from .base import Columns, Recording
from .joining import coordinates, episode_ends, joined, matching

SINGLE = {"reward": "rewards", "termination": "terminations", "truncation": "truncations"}
"""Fields of `Columns` that are one column -> deflow's name for it."""


def recording(
    path: pathlib.Path,
    available: Iterable[str],
    columns: Columns,
    load: Callable[[Iterable[str]], Mapping[str, np.ndarray]],
    defaults: Iterable[str],
) -> Recording:
    """The columns that were named, and those of the `defaults` that nothing replaces."""
    available = list(available)
    several = {"observations": columns.observation, "actions": columns.action}
    chosen = {name: matching(path, available, given, name[:-1]) for name, given in several.items() if given}
    for field, name in SINGLE.items():
        if (given := getattr(columns, field)) is not None:
            chosen[name] = matching(path, available, [given], field)
    if {"terminations", "truncations"} & set(chosen) or columns.episode or columns.time:
        defaults = [name for name in defaults if name in ("observations", "actions", "rewards", "next_observations")]
    if "observations" in chosen:  # those of the next state would be of other columns
        defaults = [name for name in defaults if name != "next_observations"]
    chosen |= {name: (name,) for name in defaults if name not in chosen and name in available}
    marks = {field: getattr(columns, field) for field in ("episode", "time") if getattr(columns, field) is not None}
    for field, given in marks.items():
        matching(path, available, [given], field)
    source = load({*(name for names in chosen.values() for name in names), *marks.values()})
    found = {name: joined(path, source, names, name) for name, names in chosen.items()}
    assumed = [f"{name} = {', '.join(names)}" for name, names in chosen.items() if names != (name,)]
    if marks:
        ends, rule = episode_ends(*(source[marks[field]] if field in marks else None for field in ("episode", "time")))
        flags = [found[name].astype(bool) for name in ("terminations",) if name in found]
        found["truncations" if flags else "terminals"] = ends & ~flags[0] if flags else ends
        assumed.append(f"trajectories end {rule}")
    named = {name: coordinates(source, chosen[name]) for name in several if name in chosen}
    return Recording(found, tuple(assumed), names=named)
