"""The result of an evaluation: one row per episode, and their summary with 95% intervals."""

import dataclasses
import math

import numpy as np

from ..environments import ReferenceScores

CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The outcome of N episodes, in order. Every array has shape (N,)."""

    success: np.ndarray
    """1 where any step of the episode reported success, 0 where none did, nan where success was never reported."""

    returns: np.ndarray
    """Sums of the episodes' rewards, undiscounted."""

    lengths: np.ndarray
    """Numbers of environment steps."""

    reference: ReferenceScores | None = None
    """Between which returns the score is normalized, if the environment has such."""

    def metrics(self) -> dict[str, float]:
        """Means by column of the log, with the limits of their 95% intervals as `.low` and `.high`."""
        success = float(np.mean(self.success))
        episode_return = float(np.mean(self.returns))
        success_low, success_high = wilson_interval(self.success)
        return_low, return_high = mean_interval(self.returns)
        return {
            "evaluation/success": success,
            "evaluation/success.low": success_low,
            "evaluation/success.high": success_high,
            "evaluation/episode.return": episode_return,
            "evaluation/episode.return.low": return_low,
            "evaluation/episode.return.high": return_high,
            "evaluation/episode.length": float(np.mean(self.lengths)),
            **self._normalized({"": episode_return, ".low": return_low, ".high": return_high}),
        }

    def _normalized(self, returns: dict[str, float]) -> dict[str, float]:
        """The normalized score of each return; nothing without reference scores."""
        if self.reference is None:
            return {}
        score = "evaluation/normalized_score"
        return {f"{score}{limit}": self.reference.normalized(value) for limit, value in returns.items()}

    def __len__(self) -> int:
        return len(self.success)

    def __repr__(self) -> str:
        return f"Evaluation({self})"

    def __str__(self) -> str:
        values = self.metrics()
        score = "" if self.reference is None else f"normalized score {values['evaluation/normalized_score']:.1f}, "
        rate, low, high = (values[f"evaluation/success{which}"] for which in ("", ".low", ".high"))
        success = "" if math.isnan(rate) else f"success {rate:.2f} [{low:.2f}, {high:.2f}], "  # where it is known
        return (
            f"{success}return {values['evaluation/episode.return']:.1f}, {score}"
            f"length {values['evaluation/episode.length']:.0f} over {len(self)} episode{'s' * (len(self) != 1)}"
        )


def wilson_interval(success: np.ndarray) -> tuple[float, float]:
    """Wilson's score interval of the success rate from outcomes 0 and 1 of shape (N,); nan if any of them is nan."""
    from scipy import stats  # a second to import, which the worker processes do not need

    if np.isnan(success).any():
        return math.nan, math.nan
    interval = stats.binomtest(int(success.sum()), len(success)).proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """Student's interval of the mean of values of shape (N,); nan for a single one."""
    from scipy import stats

    if len(values) < 2:
        return math.nan, math.nan
    half = stats.t.ppf(0.5 + CONFIDENCE / 2, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values))
    mean = np.mean(values)
    return float(mean - half), float(mean + half)
