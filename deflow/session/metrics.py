"""Metrics between two rows of the log, kept on the device until they are needed, then averaged."""

from collections.abc import Callable
from typing import Any

import jax

from ..agent import Agent, Metrics
from ..runs import Window
from ..training import Learner
from ..training.faults import Fault, metric_faults

EXPLORATION = {
    "episode_count": "exploration/episodes",
    "episode_success": "exploration/success",
    "episode_return": "exploration/episode.return",
    "episode_length": "exploration/episode.length",
}
"""Metrics of episodes that ended (NaN for a seed in which none did), and their columns in train.csv."""


class PendingMetrics:
    """The metrics of `seeds` seeds since the last row; and in each row the flow's loss on held-out data, if there is a
    function that gives it."""

    def __init__(self, seeds: int, held_out: Callable[[Agent], float] | None = None):
        self._seeds = seeds
        self._held_out = held_out
        self._window = Window(seeds, totals=["exploration/episodes"])
        self._pending: list[tuple[int, Metrics]] = []

    def add(self, step: int, metrics: Metrics) -> None:
        """Add the metrics of a dispatch, which may still be running."""
        self._pending.append((step, metrics))

    def take(self) -> dict[int, Fault]:
        """Wait for the added metrics, average them, and return each seed's first number that is not finite."""
        faults: dict[int, Fault] = {}
        pending, self._pending = jax.device_get(self._pending), []
        for step, metrics in pending:
            ended = {name: metrics.pop(name) for name in EXPLORATION if name in metrics}
            faults = metric_faults(step, metrics, self._seeds) | faults
            self._window.add({f"training/{name}": values for name, values in metrics.items()})
            self._window.add({EXPLORATION[name]: values for name, values in ended.items()}, skip_nan=True)
        return faults

    def rows(self, learner: Learner) -> list[dict[str, float]]:
        """One row per seed, from the metrics taken since the last call, and the held-out loss of a flow in training."""
        rows = self._window.rows()
        if self._held_out is not None and not learner.agent.field_frozen:
            for seed, row in enumerate(rows):
                row["validation/flow_loss"] = self._held_out(learner.seed(seed).agent)
        return rows

    def to_json(self) -> dict[str, Any]:
        """The metrics that were taken but are not in a row yet, for a checkpoint's notes."""
        return self._window.to_json()

    def restore(self, content: dict[str, Any] | None) -> None:
        """Continue from what `to_json` returned, or from nothing."""
        self._pending = []
        self._window = (
            Window(self._seeds, totals=["exploration/episodes"]) if content is None else Window.from_json(content)
        )
