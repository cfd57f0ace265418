"""A phase of a session: a training loop, how far it goes, and what its checkpoints hold besides the learner."""

import dataclasses
from collections.abc import Callable, Iterator

from ..agent import Metrics
from ..training import Learner
from .state import Online, TrainingState

Loop = Callable[[TrainingState], Iterator[tuple[int, Learner, Metrics]]]
"""Maps a state to a training loop that continues from it: (step, learner, metrics) per dispatch or round."""

Capture = Callable[[], tuple[Online, ...]]
"""Returns the current state of the online phase."""


@dataclasses.dataclass(frozen=True)
class Phase:
    """A training loop and its last step: the arguments of `Session.follow`."""

    loop: Loop
    last: int
    capture: Capture
    one_by_one: Loop | None
