"""How long it will take, said once, when it has been measured."""

import time

from tqdm import tqdm

MEASURED = 5.0
"""Seconds after the first dispatch, which compiles, from which on the pace is known."""


class Pace:
    """Looks at each step that is reached, and says once on the bar how long the rest will take."""

    def __init__(self, bar: tqdm, last: int):
        self._bar, self._last = bar, last
        self._first: tuple[int, float] | None = None
        self._told = False

    def tell(self, step: int) -> None:
        """`step` is reached."""
        now = time.perf_counter()
        if self._first is None:  # compiled by then
            self._first = step, now
        elif not self._told and now - self._first[1] > MEASURED:
            rate = (step - self._first[0]) / (now - self._first[1])
            minutes = (self._last - step) / rate / 60
            self._bar.write(f"Expected time: {minutes:.0f} min at {rate:.1f} steps/s, and the evaluations.")
            self._told = True
