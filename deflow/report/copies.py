"""Recognising a run that is given more than once: in its folder and in an archive, or in a copy of either."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .archive import time_of
from .labels import facts_of
from .reading import RunFiles


def each_once(runs: Sequence[RunFiles]) -> tuple[list[RunFiles], list[str]]:
    """Each run once, and a sentence if some came more than once.

    It is the same run if the task, the algorithm, the seed, the time in its name, the commit and the settings are the
    same, and one has all evaluations of the other: an archive may have been written before a run's last one. The one
    with the latest evaluation is kept, and of equals the run's folder.
    """
    kept: list[RunFiles] = []
    for run in sorted(runs, key=lambda run: (-_last_step(run), not run.path.is_dir())):
        if not any(_same(run, other) for other in kept):
            kept.append(run)
    twice = len(runs) - len(kept)
    if not twice:
        return list(runs), []
    chosen = set(map(id, kept))
    sentence = (
        f"Of the {len(runs)} runs given, {twice} {'repeat others' if twice > 1 else 'repeats another'}, as an archive "
        "does that of a run whose folder is given, too: each run counts once."
    )
    return [run for run in runs if id(run) in chosen], [sentence]


def _same(one: RunFiles, other: RunFiles) -> bool:
    named = [(run.environment, run.algorithm, run.seed, time_of(run), run.commit) for run in (one, other)]
    lengths = {_first_length(run) for run in (one, other) if run.path.is_dir()}
    return named[0] == named[1] and len(lengths) < 2 and facts_of(one) == facts_of(other) and _agree(one, other)


def _first_length(run: RunFiles) -> Any:
    """The steps that a run was begun with, which no continuing changes. (An archive may have those of later.)"""
    return (run.begun_with or run.config.get("options") or {}).get("steps")


def _agree(one: RunFiles, other: RunFiles) -> bool:
    """Whether one has all evaluations of the other, to the digits that an archive keeps."""
    steps = one.evaluation["step"], other.evaluation["step"]
    common, mine, its = np.intersect1d(*steps, return_indices=True)
    return len(common) == min(map(len, steps)) and all(
        np.allclose(one.evaluation[name][mine], other.evaluation[name][its], rtol=1e-5, atol=1e-12, equal_nan=True)
        for name in one.evaluation.keys() & other.evaluation.keys()
    )


def _last_step(run: RunFiles) -> int:
    return int(max(run.evaluation["step"], default=0))
