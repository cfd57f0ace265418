"""Reward scale: a linear map of the recorded rewards, which is recorded with the run."""

import dataclasses
import math

import numpy as np

from ..errors import DataError


@dataclasses.dataclass(frozen=True)
class RewardScale:
    """r -> scale * r + shift, for learning. Returns are reported in the environment's own units."""

    scale: float = 1.0
    """Factor, positive."""

    shift: float = 0.0
    """What is added afterwards, at every step."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0 and math.isfinite(self.shift)):
            raise DataError(
                f"The reward's scale must be positive and its shift finite, got {self.scale:g} and {self.shift:g}."
            )

    def __str__(self) -> str:
        """In words: `0.1 * r - 1`."""
        sign = "-" if self.shift < 0 else "+"
        return f"{self.scale:g} * r {sign} {abs(self.shift):g}"

    def __call__(self, rewards: np.ndarray) -> np.ndarray:
        """Rewards of any shape, in the same type."""
        if self == UNCHANGED:
            return rewards
        return (np.asarray(rewards, np.float64) * self.scale + self.shift).astype(np.asarray(rewards).dtype)

    def undone(self, rewards: np.ndarray) -> np.ndarray:
        """The rewards as they were recorded, from those for learning, in the same type."""
        if self == UNCHANGED:
            return rewards
        return ((np.asarray(rewards, np.float64) - self.shift) / self.scale).astype(np.asarray(rewards).dtype)


UNCHANGED = RewardScale()
"""The rewards as they were recorded."""
