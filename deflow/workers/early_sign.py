"""A sign of life while a program imports, which may take long on a slow machine: a line on the terminal."""

import contextlib
import sys
import threading
import time


class EarlySign:
    """Says every second for how long the program has been starting, from a thread, until `end`."""

    def __init__(self):
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._say, name="deflow-starting", daemon=True)

    def begin(self) -> None:
        """Begin, if somebody watches."""
        if sys.stderr is not None and sys.stderr.isatty():
            self._thread.start()

    def end(self) -> None:
        """Clear the line. Called again, it does nothing."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _say(self) -> None:
        began, shown = time.monotonic(), ""
        with contextlib.suppress(OSError, ValueError):  # the terminal may be gone
            while not self._ended.wait(1.0):
                shown = f"starting ... {time.monotonic() - began:.0f} s"
                print(f"\r{shown}", end="", file=sys.stderr, flush=True)
            print("\r" + " " * len(shown), end="\r", file=sys.stderr, flush=True)


early_sign = EarlySign()
"""That of this process."""
