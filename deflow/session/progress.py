"""What the bar of a training says: that it compiles, the expected time, and how good the policy is so far."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Self

from ..progress import Bar
from ..runs.scores import scores_of

MEASURED = 5.0
"""Seconds after the first dispatch, which compiles, until the speed is known."""

VALUES = ("training/value", "training/critic_value", "training/flow_loss")
"""Columns of train.csv; the first that is there is shown."""


class Progress:
    """The bar of a phase, from a step to the last."""

    def __init__(self, phase: str, step: int, last: int):
        self._bar = Bar(total=last, initial=step, desc=phase, unit="step", smoothing=0.05)
        self._last = last
        self._first: tuple[int, float] | None = None
        self._told = False
        self._said: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def begin(self) -> None:
        """The first dispatch is about to be compiled, which may take a minute."""
        self._first = None
        self._show("compiling")

    def show(self, step: int) -> None:
        """`step` was dispatched."""
        self._bar.update(step - self._bar.n)

    def back(self, step: int) -> None:
        """Training goes on from an earlier step."""
        self._bar.reset(self._last)
        self._bar.update(step)

    def write(self, text: str) -> None:
        """Print a line above the bar."""
        self._bar.write(text)

    def tell(self, step: int) -> None:
        """`step` was looked at. Once the speed has been measured, the expected time is printed."""
        now = time.perf_counter()
        if self._first is None:  # compiled by then
            self._first = step, now
            self._show()
        elif not self._told and now - self._first[1] > MEASURED:
            rate = (step - self._first[0]) / (now - self._first[1])
            minutes = (self._last - step) / rate / 60
            self.write(f"Expected time: {minutes:.0f} min at {rate:.1f} steps/s, plus the evaluations.")
            self._told = True

    def logged(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Show the policy's value, one number per seed, from their rows of train.csv."""
        for name in VALUES:
            if any(name in row for row in rows):
                shown = " ".join(f"{row[name]:.3g}" if name in row else "-" for row in rows)
                self._said["value"] = f"{name.partition('/')[2].replace('_', ' ')} {shown}"
                self._show()
                return

    def judged(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Show the policy's success, return or estimated value, one number per seed, from their rows of eval.csv."""
        name, scores = scores_of(rows)
        name = "estimated value" if name == "value" else name
        self._said["score"] = f"{name} {' '.join(f'{score:.2f}' for score in scores)}"
        self._show()

    def _show(self, first: str = "") -> None:
        said = [first, self._said.get("score"), self._said.get("value")]
        self._bar.set_postfix_str(", ".join(filter(None, said)))
