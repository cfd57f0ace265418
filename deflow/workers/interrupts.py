"""Ctrl-C and SIGTERM, answered with patience: what is running is finished and saved first."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any


class Interrupt(threading.Event):
    """Set when the program was asked to end."""

    code = 0
    """Exit code to end with: 130 after Ctrl-C, 143 after SIGTERM."""


@contextlib.contextmanager
def patient_interrupts() -> Iterator[Interrupt]:
    """Within: the first Ctrl-C or SIGTERM sets the event, for loops to end between two dispatches; the second stops at
    once."""
    asked = Interrupt()

    def answer(signum: int, frame: Any) -> None:
        if asked.is_set():
            os._exit(128 + signum)  # without the clean-up that a running program of XLA's does not survive
        asked.code = 128 + signum
        asked.set()
        name = "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name
        print(
            f"\n{name}: finishing what is running, then saving; once more stops at once.", file=sys.stderr, flush=True
        )

    previous = {signum: signal.signal(signum, answer) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
