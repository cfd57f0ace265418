"""What surrounds the start of a worker process: environment variables, Ctrl-C, and the parent's script."""

import contextlib
import os
import signal
import sys
import types
from collections.abc import Iterator, Mapping
from multiprocessing import resource_tracker


def usable_cores() -> int:
    """Cores this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Within: these environment variables, which a process that is started inherits; then the parent's own again."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextlib.contextmanager
def without_interrupts() -> Iterator[None]:
    """Block Ctrl-C in this thread, and so for good in a process that it starts: the parent alone answers it."""
    resource_tracker.ensure_running()  # started within, by the start of a process, it would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Hide the parent's script, so that a spawned process does not run it again and it needs no `__name__` guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
