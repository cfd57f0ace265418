"""Imported first by a program: during its other imports, Ctrl-C ends it in one sentence instead of a traceback, and a
line says that it is starting."""

import os
import sys
from types import TracebackType

from .early_sign import early_sign


def _answer(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    early_sign.end()
    if issubclass(kind, KeyboardInterrupt) and not os.environ.get("DEFLOW_TRACEBACK"):
        print("error: interrupted.", file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


sys.excepthook = _answer
early_sign.begin()
