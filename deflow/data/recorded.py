"""From a recording to transitions: checked, in the agent's units, with OGBench's rewards where it has none."""

import dataclasses
import functools
import pathlib

import numpy as np

from ..environments import ActionBounds, Adapter, Environment
from ..errors import DatasetFileError
from ..types import Batch, Spec
from .endings import Terminals, check_continuity, read_endings
from .readers import Recording
from .relabelling import STATE_COLUMNS, relabel, state_widths
from .rewards import RewardScale
from .transitions import kept_rows, make_batch
from .validation import (
    check_actions,
    check_finite,
    check_flags,
    check_present,
    check_shapes,
    warn_of_precision,
    with_axes,
)


@dataclasses.dataclass(frozen=True)
class Rules:
    """OGBench's rules for the rewards of a task, for data without rewards. They are about states, not images."""

    environment: Environment
    made: Adapter

    @functools.cached_property
    def judge(self) -> Adapter:
        """An environment of the task whose observations are states."""
        return self.environment.of_states.make() if self.environment.is_visual else self.made

    @property
    def identifier(self) -> str:
        """The judge's Gymnasium id."""
        task = self.environment.task
        assert task is not None
        return task.of_states.environment_id


def transitions_of(
    path: pathlib.Path,
    recording: Recording,
    spec: Spec,
    bounds: ActionBounds,
    meaning: Terminals | None,
    rewards: RewardScale,
    labels: Rules | None = None,
) -> tuple[Batch, str, bool]:
    """The checked transitions of a recording, how its ends were read, and whether OGBench's rules labelled it."""
    task = None if labels is None else labels.environment.task
    relabelled = labels is not None and task is not None and "rewards" not in recording.columns
    widths = state_widths(labels.judge) if labels is not None and relabelled else {}
    states = {name: recording.columns[name] for name in widths if name in recording.columns}
    columns = {name: values for name, values in recording.columns.items() if name not in STATE_COLUMNS}
    check_present(path, {**columns, **states}, ("observations", "actions", *(widths or ["rewards"])))
    columns = with_axes(columns, spec)
    check_shapes(path, {**columns, **states}, spec, labels and labels.environment.name, widths)
    check_finite(path, {**columns, **states})
    check_flags(path, columns)
    endings = read_endings(path, columns, meaning)
    check_continuity(path, columns, endings)
    keep = kept_rows(columns, endings)
    if not keep.any():
        raise DatasetFileError(f"{path} has no transitions, since every row ends a trajectory: check where they end.")
    warn_of_precision(path, columns)
    actions = bounds.to_unit(columns["actions"])
    check_actions(path, columns["actions"], actions, bounds)
    if labels is not None and task is not None and relabelled:
        made, masks = relabel(labels.identifier, labels.judge, {name: states[name][keep] for name in widths})
        batch = make_batch(columns, endings, actions, rewards(made), masks, frame_stack=spec.frame_stack)
        return batch, "OGBench's", True
    masks = np.ones(len(keep), np.float32) if endings.terminated is None else (~endings.terminated).astype(np.float32)
    scaled = rewards(columns["rewards"][keep])
    batch = make_batch(columns, endings, actions, scaled, masks[keep], frame_stack=spec.frame_stack)
    return batch, endings.reading, False
