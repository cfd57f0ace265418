"""How long an action takes: the policy itself, and what a file holds."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Latency(NamedTuple):
    """Milliseconds for the action of one observation."""

    median: float
    """Half of the calls take at most this."""

    slowest_percent: float
    """The 99th percentile: one call in a hundred takes longer."""

    calls: int
    """Calls that were measured."""

    def __str__(self) -> str:
        return f"{self.median:.2f} ms, 99th percentile {self.slowest_percent:.2f} ms"


def latency(call: Callable[[], object], *, calls: int = 1_000, warm_up: int = 20) -> Latency:
    """The time that a call takes, after it was called a few times for compilation and caches.

    Raises:
        ValueError: If `calls` is less than 1.
    """
    if calls < 1:
        raise ValueError(f"calls must be at least 1, got {calls}.")
    for _ in range(warm_up):
        call()
    taken = np.zeros(calls)
    for index in range(calls):
        began = time.perf_counter()
        call()
        taken[index] = time.perf_counter() - began
    median, slowest = np.percentile(taken * 1_000, (50, 99))
    return Latency(float(median), float(slowest), calls)
