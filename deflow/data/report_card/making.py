"""Making a report card: opens the data, and measures what its columns allow."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...environments import ActionBounds, Environment, spec_of
from ...errors import DataError
from ..action_variance import evenly_spaced
from ..collection import Collected, collect
from ..endings import Terminals
from ..official import official_files
from ..readers import AS_NAMED, Recording, reader_named, reader_of
from ..recorded import Rules
from ..sources import Source, UserData, as_source
from ..task_environment import task_environment
from ..transitions import kept_rows
from .advice import advise
from .card import ReportCard
from .columns import Column, Columns, examine
from .dimensions import Dimension, dimensions
from .labels import labels_of, relabelled
from .rows import find_repeats, measure_steps
from .similarity import measure_similarity
from .trajectories import describe_rewards, read_trajectories

BINS = 40
"""Bins of an action's histogram."""

_DRAWN = 200_000  # rows that histograms count, evenly spaced


def report(
    data: Recording | Source | str | os.PathLike[str],
    *,
    environment: str | Environment | None = None,
    terminals: Terminals | None = None,
    bounds: tuple[float | Sequence[float], float | Sequence[float]] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> ReportCard:
    """Describe data before training on it. Odd data is described, never refused.

    Args:
        data: A path or an address, a source, or a recording.
        environment: Gives the action bounds, and the rewards of OGBench's data; needed for `Official` and `Collected`.
            `recorded` is the one that the data names.
        terminals: What `terminals` (or `dones`) means without a second column, for a recording.
        bounds: The lowest and the highest action; otherwise the environment, the source or the data's range says.
        data_dir: The data directory of official and collected data.
        workers: Number of processes of a collection.
        progress: Whether to show bars.

    Raises:
        DataError: If the data cannot be opened at all, or the environment cannot be made.
    """
    if isinstance(data, Recording):
        environment = Environment(environment) if isinstance(environment, str) else environment
        title = "a recording"
    else:
        source = as_source(data)
        environment = None if environment is None else task_environment(environment, source)
        data, title, meaning = _opened(source, environment, data_dir, workers, progress)
        terminals = meaning if terminals is None else terminals
    if environment is None:
        with np.errstate(all="ignore"):
            return _card(data, title, terminals, bounds, None, progress)
    made = environment.make()
    try:
        with np.errstate(all="ignore"):
            return _card(data, title, terminals, bounds, Rules(environment, made), progress)
    finally:
        made.close()


def _opened(
    source: Source,
    environment: Environment | None,
    data_dir: str | os.PathLike[str] | None,
    workers: int | None,
    progress: bool,
) -> tuple[Recording, str, Terminals | None]:
    """What a source holds, where it lies, and what its terminals mean."""
    if isinstance(source, UserData):
        name, path = reader_of(source.path, source.reader)
        return reader_named(name).read(path, source.columns), str(path), source.terminals
    if environment is None or environment.task is None:
        raise DataError("Official and collected data are those of an OGBench task: name it as the environment.")
    if isinstance(source, Collected):
        settings = {"data_dir": data_dir, "workers": workers, "progress": progress}
        path = pathlib.Path(collect(environment.name, source, **settings).path)
    else:
        path, _ = official_files(environment.name, source, data_dir, progress)
    return reader_named("npz").read(path, AS_NAMED), str(path), None


def _card(
    recording: Recording,
    title: str,
    terminals: Terminals | None,
    given: tuple[Any, Any] | None,
    rules: Rules | None,
    progress: bool,
) -> ReportCard:
    columns = examine(recording)
    trajectories, endings = read_trajectories(columns, terminals)
    following = columns.aligned("next_observations")
    kept = kept_rows({} if following is None else {"next_observations": following.values}, endings)
    labels = None if rules is None or "rewards" in recording.columns else labels_of(recording, rules, kept)
    if labels is not None:
        rewards, trajectories = relabelled(labels, kept, endings, trajectories)
    else:
        recorded = columns.single("rewards")
        rewards = None if recorded is None else describe_rewards(recorded, trajectories)
    bounds, described, mismatch = _dimensions(recording, columns, given, rules)
    observations, actions = columns.aligned("observations"), columns.aligned("actions")
    repeats, similarity = None, "needs observations and actions"
    if observations is not None and actions is not None:
        repeats = find_repeats(observations, actions, columns.single("rewards"), trajectories)
        similarity = measure_similarity(observations, actions, bounds, trajectories, progress)
    vectors = columns.vectors("observations")
    spread = tuple(each for each in described if each.column == "observations")
    card = ReportCard(
        title=title,
        rows=columns.rows,
        transitions=int(kept.sum()),
        held_out=0 if recording.validation is None else examine(recording.validation).rows,
        assumed=recording.assumed,
        sizes={name: column.in_words for name, column in columns.of.items()},
        trajectories=trajectories,
        rewards=rewards,
        relabelled=labels is not None,
        bounds=bounds,
        dimensions=described,
        repeats=repeats,
        steps=None if vectors is None else measure_steps(vectors, following, spread, endings.ends),
        similarity=None if isinstance(similarity, str) else similarity,
        why_not=similarity if isinstance(similarity, str) else "",
        histograms=_histograms(columns.vectors("actions"), described),
    )
    return dataclasses.replace(card, warnings=(*columns.warnings, *mismatch, *advise(card)))


def _dimensions(
    recording: Recording, columns: Columns, given: tuple[Any, Any] | None, rules: Rules | None
) -> tuple[ActionBounds | None, tuple[Dimension, ...], tuple[str, ...]]:
    """The bounds of the actions, the dimensions of observations and actions, and what does not fit the environment."""
    observations, actions = columns.of.get("observations"), columns.of.get("actions")
    mismatch, bounds = [], None
    described = () if observations is None else dimensions(observations)
    if rules is not None and observations is not None:
        wanted = spec_of(rules.made).frame_shape
        if observations.shape != wanted and {observations.shape, wanted} != {(), (1,)}:
            mismatch.append(
                f"The observations are of shape {observations.shape}, but {rules.environment.name} gives {wanted}: "
                "check that the data was recorded in that environment."
            )
    if actions is None or actions.described_as_a_whole:
        return None, described + (() if actions is None else dimensions(actions)), tuple(mismatch)
    size = actions.values.shape[1]
    try:
        if given is not None:
            bounds = ActionBounds.of(*given, size, "given")
        elif rules is not None and (wanted := len(rules.made.bounds.low)) != size:
            raise DataError(f"{rules.environment.name} takes {wanted} numbers, and an action has {size}.")
        elif rules is not None:
            bounds = ActionBounds.of(rules.made.bounds.low, rules.made.bounds.high, size, "environment")
        elif recording.bounds is not None:
            bounds = ActionBounds.of(*recording.bounds, size, "source")
    except (DataError, ValueError, TypeError) as error:
        mismatch.append(f"The action bounds do not fit the actions, and the data's range is used instead. {error}")
    found = dimensions(actions, bounds)
    if bounds is None:
        ends = np.nan_to_num([(each.lowest, each.highest) for each in found])
        bounds = ActionBounds.of(ends[:, 0], ends[:, 1], size, "data")
    return bounds, described + found, tuple(mismatch)


def _histograms(actions: Column | None, described: tuple[Dimension, ...]) -> dict[str, tuple[np.ndarray, float, float]]:
    """How often each action occurs, in equal bins between the lowest and the highest one."""
    if actions is None:
        return {}
    rows = actions.values[evenly_spaced(len(actions.values), _DRAWN)].astype(np.float64)
    found = {}
    for index, each in enumerate(each for each in described if each.column == "actions"):
        width = each.highest - each.lowest
        if np.isfinite(width) and width > 0:
            place = (rows[:, index] - each.lowest) / width
            place = np.minimum(place[np.isfinite(place)] * BINS, BINS - 1).astype(int)
            found[each.title] = np.bincount(place, minlength=BINS), each.lowest, each.highest
    return found
