"""What a behaviour must do to collect a dataset."""

import abc
import dataclasses
from typing import Any, ClassVar

import numpy as np


@dataclasses.dataclass(frozen=True)
class Column:
    """One column that comes from the environment's `info`."""

    name: str
    """Its name in OGBench's files."""

    key: str
    """Its key in the `info` that `step` returns; it describes the state before the step."""

    dtype: type
    """Its type in OGBench's files."""


STATE_COLUMNS = (Column("qpos", "prev_qpos", np.float32), Column("qvel", "prev_qvel", np.float32))
"""The simulator's positions and velocities, in every family."""


class Behaviour(abc.ABC):
    """Acts in one environment, one episode after the other.

    All its randomness comes from NumPy's global generator and the environment's own, both of which are seeded before
    each `begin`. No state may be kept from one episode to the next.
    """

    columns: ClassVar[tuple[Column, ...]] = STATE_COLUMNS
    """The columns in addition to observations, actions and terminals."""

    environment: Any
    """The bare environment (without wrappers)."""

    @abc.abstractmethod
    def begin(self, seed: int) -> np.ndarray:
        """Start an episode with `reset(seed=seed)`; returns the first observation."""

    @abc.abstractmethod
    def act(self) -> np.ndarray:
        """The next action, before it is clipped to [-1, 1]."""

    @abc.abstractmethod
    def observe(self, observation: np.ndarray, info: dict[str, Any]) -> None:
        """Process the result of the step."""

    def accepts(self, episode: dict[str, np.ndarray]) -> bool:
        """Whether to keep the finished episode. If not, it is played again with another seed."""
        return True
