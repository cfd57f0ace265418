"""Reference scores: the returns between which a return is normalized."""

import dataclasses
import math

from ..errors import DataError


@dataclasses.dataclass(frozen=True)
class ReferenceScores:
    """The returns at which the normalized score is 0 and 100: usually a random policy's and an expert's.

    normalized score = 100 (return - low) / (high - low), as in D4RL (arXiv 2004.07219).
    """

    low: float
    """The return that counts 0."""

    high: float
    """The return that counts 100."""

    source: str
    """Who says so."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise DataError(
                f"Reference scores must be finite and in order, got {self.low} and {self.high} of {self.source}."
            )

    def normalized(self, episode_return: float) -> float:
        """The normalized score of a return."""
        return 100 * (episode_return - self.low) / (self.high - self.low)

    def __str__(self) -> str:
        return f"0 at a return of {self.low:.4g}, 100 at {self.high:.4g} ({self.source})"
