"""The expected time of a training, printed once its speed has been measured."""

import time

from tqdm import tqdm

MEASURED = 5.0
"""Seconds after the first dispatch, which compiles, until the speed is known."""


class ExpectedTime:
    """Measures the speed and prints the expected time once."""

    def __init__(self, bar: tqdm, last: int):
        self._bar, self._last = bar, last
        self._first: tuple[int, float] | None = None
        self._told = False
        bar.set_postfix_str("compiling")  # a sign of life: the first step may take a minute

    def tell(self, step: int) -> None:
        """Report that `step` was reached."""
        now = time.perf_counter()
        if self._first is None:  # compiled by then
            self._first = step, now
            self._bar.set_postfix_str("")
        elif not self._told and now - self._first[1] > MEASURED:
            rate = (step - self._first[0]) / (now - self._first[1])
            minutes = (self._last - step) / rate / 60
            self._bar.write(f"Expected time: {minutes:.0f} min at {rate:.1f} steps/s, plus the evaluations.")
            self._told = True
