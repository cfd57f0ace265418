"""Ctrl-C and SIGTERM: the work in progress is finished and saved before the program ends."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any


class Interrupt(threading.Event):
    """Set when the program has been asked to end."""

    code = 0
    """Exit code to end with: 130 after Ctrl-C, 143 after SIGTERM."""


@contextlib.contextmanager
def graceful_interrupts() -> Iterator[Interrupt]:
    """A context in which the first Ctrl-C or SIGTERM sets the event, so that loops can end between two dispatches.

    The second one ends the program at once.
    """
    asked = Interrupt()

    def answer(signum: int, frame: Any) -> None:
        if asked.is_set():
            os._exit(128 + signum)  # skips the clean-up, which crashes while XLA is running
        asked.code = 128 + signum
        asked.set()
        name = "Ctrl-C" if signum == signal.SIGINT else signal.Signals(signum).name
        print(f"\n{name}: finishing and saving; a second one stops at once.", file=sys.stderr, flush=True)

    previous = {signum: signal.signal(signum, answer) for signum in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)
