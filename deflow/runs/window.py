"""Means of metrics since the last row, exact across an interruption."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from jaxtyping import ArrayLike


class Window:
    """Sums of metrics, in float64 and in the order in which they came, for each of `seeds` seeds.

    A window that is written (`to_json`) and read again in the middle gives the rows of one that never was.
    """

    def __init__(self, seeds: int = 1, totals: Sequence[str] = ()):
        self.seeds = seeds
        self.totals = tuple(totals)
        """Metrics whose rows hold the sum instead of the mean."""
        self._sums: dict[str, np.ndarray] = {}
        self._counts: dict[str, np.ndarray] = {}

    def add(self, metrics: Mapping[str, ArrayLike], *, skip_nan: bool = False) -> None:
        """Add metrics, each of shape (seeds,), or () where it is the same for all. Raises `ValueError`.

        With `skip_nan`, NaN says that a seed has no value this time, and does not count.
        """
        for name, values in metrics.items():
            array = np.asarray(values).astype(np.float64)
            if array.shape not in ((), (self.seeds,)):
                raise ValueError(
                    f"The metric {name!r} must have shape () or ({self.seeds},), got {array.shape}; reduce it before."
                )
            counts = ~np.isnan(array) if skip_nan else np.ones(array.shape, bool)
            with np.errstate(all="ignore"):  # what is not finite shows in the row
                self._sums[name] = self._sums.get(name, np.zeros(self.seeds)) + np.where(counts, array, 0.0)
            self._counts[name] = self._counts.get(name, np.zeros(self.seeds, int)) + counts

    def rows(self) -> list[dict[str, float]]:
        """The means since the last call, a row per seed, without what has no value. The window is empty after it."""
        sums, counts = self._sums, self._counts
        self._sums, self._counts = {}, {}
        divisors = {name: np.ones(self.seeds) if name in self.totals else counts[name] for name in sums}
        return [
            {name: float(sums[name][seed] / divisors[name][seed]) for name in sums if counts[name][seed]}
            for seed in range(self.seeds)
        ]

    def to_json(self) -> dict[str, Any]:
        """All it holds, as plain JSON values; floats in hexadecimal, which knows `nan` and `inf` and loses nothing."""
        metrics = [
            {"name": name, "counts": self._counts[name].tolist(), "sums": [float(value).hex() for value in total]}
            for name, total in self._sums.items()
        ]
        return {"seeds": self.seeds, "totals": list(self.totals), "metrics": metrics}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The window that `to_json` told of."""
        window = cls(content["seeds"], content["totals"])
        for metric in content["metrics"]:
            window._counts[metric["name"]] = np.array(metric["counts"])
            window._sums[metric["name"]] = np.array([float.fromhex(value) for value in metric["sums"]])
        return window
