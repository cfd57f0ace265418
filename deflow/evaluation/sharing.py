"""An evaluation whose episodes are shared by the processes that train together."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax

from .. import hosts
from ..errors import EvaluationError, EvaluationInterrupted
from .evaluator import Evaluator
from .outcome import Outcome
from .result import Evaluation

if TYPE_CHECKING:
    from ..deployment import Policy


class SharedEvaluator:
    """The evaluators of all processes, each of which plays its share of the episodes; what they find is everybody's."""

    def __init__(self, own: Evaluator):
        """`own` is this process's. All processes must make the same calls."""
        self._own = own

    def __call__(
        self,
        policy: "Callable[..., Any] | Policy",
        *,
        episodes: int,
        seed: int,
        progress: bool = False,
        interrupt: threading.Event | None = None,
    ) -> Evaluation:
        """What `Evaluator` gives, for the same policy in all processes.

        Raises:
            EvaluationError: If an episode fails in one of the processes, or a worker dies.
            EvaluationInterrupted: If `interrupt` is set in one of them.
        """
        outcomes, failure = list[Outcome](), None
        if share := range(episodes)[jax.process_index() :: hosts.count()]:
            try:
                outcomes = self._own.outcomes(policy, share, seed=seed, progress=progress, interrupt=interrupt)
            except (EvaluationError, EvaluationInterrupted) as error:
                failure = error
        every = hosts.gathered((outcomes, failure))
        for _, failure in every:
            if failure is not None:
                raise failure
        return self._own.summary([every[number % len(every)][0][number // len(every)] for number in range(episodes)])

    def check(self, interrupt: threading.Event | None = None) -> None:
        """As `Evaluator.check`, in this process."""
        self._own.check(interrupt)
