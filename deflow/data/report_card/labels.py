"""Labels: rewards and terminations of OGBench's data, by OGBench's rules."""

import dataclasses

import numpy as np

from ..endings import Endings
from ..readers import Recording
from ..recorded import Rules
from ..relabelling import relabel, state_widths
from .trajectories import Rewards, Trajectories, describe_rewards


def labels_of(recording: Recording, rules: Rules, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Rewards and masks of the kept rows by OGBench's rules; None if it has none, or its columns are not there."""
    found = {}
    if rules.environment.task is None or not kept.any():
        return None
    for name, width in state_widths(rules.judge).items():
        values = np.asarray(recording.columns.get(name))
        if values.dtype.kind not in "fiu" or values.shape != (len(kept), width) or not np.isfinite(values).all():
            return None
        found[name] = values[kept]
    return relabel(rules.identifier, rules.judge, found)


def relabelled(
    labels: tuple[np.ndarray, np.ndarray], kept: np.ndarray, endings: Endings, trajectories: Trajectories
) -> tuple[Rewards, Trajectories]:
    """Rewards and terminations by OGBench's rules."""
    rewards, solved = np.zeros(len(kept)), np.zeros(len(kept), bool)
    rewards[kept], solved[kept] = labels[0], labels[1] == 0
    last = kept & (endings.ends | np.append(endings.ends[1:] & ~kept[1:], True))
    described = describe_rewards(rewards, trajectories, counted=kept)
    return described, dataclasses.replace(
        trajectories,
        terminations=int(solved.sum()),
        truncations=len(trajectories.lengths) - int(np.sum(last & solved)),
        reading=f"{trajectories.reading.partition(';')[0]}; solved steps are terminations, by OGBench's rules",
    )
