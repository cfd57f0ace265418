"""A task: where to act, and the transitions to learn it from."""

import dataclasses

import numpy as np

from deflow.data.environment import Environment
from deflow.data.provenance import Provenance
from deflow.types import Batch, Spec


@dataclasses.dataclass(frozen=True)
class Task:
    """An offline problem. Arrays are NumPy's, with the transitions along the first axis."""

    environment: Environment
    """How to make the environment."""

    spec: Spec
    """Its sizes."""

    train: Batch
    """N transitions; `extras["terminal"]` is 1 at a trajectory's last one."""

    validation: Batch | None
    """Transitions nothing is trained on, if the source has some."""

    provenance: Provenance
    """Where the transitions came from."""

    @property
    def name(self) -> str:
        """The environment's name."""
        return self.environment.name

    @property
    def successes(self) -> int:
        """Number of training transitions where the task is solved (mask = 0)."""
        return int(np.sum(np.asarray(self.train.mask) == 0))

    @property
    def trajectories(self) -> int:
        """Number of training trajectories."""
        return int(np.sum(np.asarray(self.train.extras["terminal"])))
