"""Progress bars that show a sign of life every second, also while nothing can be counted.

    with Bar(total=100, desc="training", unit="step") as bar:
        bar.update(10)

    with working("reading the data"):
        ...

Where nobody watches, in a file, a bar is a line every half a minute instead.
"""

import contextlib
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any, TextIO

from tqdm import tqdm

PULSE = 1.0
"""Seconds between two refreshes of a bar on a terminal."""

RARELY = 30.0
"""Seconds between two lines of a bar in a file."""


def hush() -> None:
    """No bar is shown from now on: another process, which does the same, shows its own."""
    Bar.hushed = True


def watched(stream: Any = None) -> bool:
    """Whether somebody may look at the stream (as a rule, stderr) while it is written: a terminal or a notebook."""
    stream = sys.stderr if stream is None else stream
    return stream is not None and (stream.isatty() or "ipykernel" in sys.modules)


class Bar(tqdm):
    """A bar of tqdm's on stderr, in the same words."""

    hushed = False
    """Whether none is shown."""

    def __init__(self, *, disable: bool = False, **settings: Any):
        disable = disable or self.hushed
        if watched():
            super().__init__(disable=disable, **settings)
            if not disable:
                _pulse.add(self)
        else:
            rarely = {"mininterval": RARELY, "maxinterval": RARELY, "miniters": 1}
            super().__init__(disable=disable, file=_Lines(sys.stderr), **rarely, **settings)


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """A line on the terminal that says what is being done, and for how long; nothing is left of it."""
    if not watched() or Bar.hushed:
        yield
        return
    with Bar(desc=what, bar_format="{desc} ... {elapsed}", leave=False):
        yield


@contextlib.contextmanager
def aside() -> Iterator[None]:
    """A context in which something is printed while bars are open, which are out of the way meanwhile."""
    with Bar.external_write_mode(file=sys.stdout):
        yield


class _Lines:
    """A stream on which every state of a bar is a line of its own, instead of replacing the one before."""

    def __init__(self, stream: TextIO):
        self._stream = stream
        self.encoding = getattr(stream, "encoding", "utf-8")

    def write(self, text: str) -> int:
        if line := text.replace("\x1b[A", "").strip():
            self._stream.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


class _Pulse:
    """Refreshes the bars that are open, in a thread that lives as long as there are any."""

    def __init__(self):
        self._bars: weakref.WeakSet[Bar] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def add(self, bar: Bar) -> None:
        with self._lock:
            self._bars.add(bar)
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="deflow-pulse", daemon=True)
                self._thread.start()

    def _beat(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(PULSE)
            with self._lock:
                bars = [bar for bar in self._bars if not bar.disable]  # as a closed one is
                if not bars:
                    self._thread = None
                    return
            for bar in bars:
                with bar.get_lock(), contextlib.suppress(Exception):  # the terminal may be gone
                    if not bar.disable:
                        bar.refresh(nolock=True)


_pulse = _Pulse()
