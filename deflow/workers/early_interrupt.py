"""Imported first by a program: Ctrl-C during its other imports ends it in one sentence instead of a traceback."""

import os
import sys
from types import TracebackType


def _answer(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt) and not os.environ.get("DEFLOW_TRACEBACK"):
        print("error: interrupted.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _answer
