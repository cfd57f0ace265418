"""Estimates in place of episodes, while a policy is trained on data alone."""

import dataclasses
import threading

from .. import hosts
from ..agent import Agent
from ..data import Task
from .estimate import MEMBERS, STEPS, estimate
from .value_estimate import ValueEstimate


@dataclasses.dataclass(frozen=True)
class Estimator:
    """What `Evaluator` is where there is an environment: judges a policy whenever an evaluation is due."""

    task: Task
    """The data."""

    steps: int = STEPS
    """Updates of the fitted critics."""

    members: int = MEMBERS
    """Number of fitted critics."""

    def __call__(
        self,
        agent: Agent,
        *,
        episodes: int,
        seed: int,
        progress: bool = False,
        interrupt: threading.Event | None = None,
    ) -> ValueEstimate:
        """The policy's value by `estimate`; `episodes` is ignored, since none are played. Of several processes that
        train together, the leading one estimates it.

        Raises:
            EstimationError: If the critics diverge.
            EvaluationInterrupted: If `interrupt` is set.
        """
        return hosts.led(
            lambda: estimate(
                agent,
                self.task,
                members=self.members,
                steps=self.steps,
                seed=seed,
                progress=progress,
                interrupt=interrupt,
            )
        )
