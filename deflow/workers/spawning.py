"""How worker processes start (spawned, on the CPU, with one thread, Ctrl-C blocked) and how they end."""

import contextlib
import multiprocessing.context
import os
import shutil
import signal
import sys
import threading
import types
from collections.abc import Iterator, Mapping
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import psutil


def usable_cores() -> int:
    """Number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """A context with these environment variables, which new processes inherit; the old values return afterwards."""
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
    """Block Ctrl-C in this thread, and thereby permanently in processes it starts: only the parent reacts to it."""
    resource_tracker.ensure_running()  # started within, by the start of a process, it would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def without_main() -> Iterator[None]:
    """Hide the parent's script, so that a spawned process does not run it and it needs no `__name__` guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


class Process(multiprocessing.context.SpawnProcess):
    """A spawned process. `main` says whether it needs the parent's script, which spawning would run again."""

    def __init__(self, *, scratch: Path, main: bool, variables: Mapping[str, str] | None = None, **kwargs):
        super().__init__(**kwargs)
        self._variables = {**_variables(scratch), **(variables or {})}
        self._main = main

    def start(self):
        """Start with a worker's environment variables, then restore the parent's."""
        hidden = contextlib.nullcontext() if self._main else without_main()
        with environment_variables(self._variables), without_interrupts(), hidden:
            super().start()

    def kill(self):
        """End it at once, with all that it started: a simulator of an environment's own would live on, and what a
        library asks of another process would complain that nobody listens."""
        if self.is_alive():
            with contextlib.suppress(psutil.Error):
                whole = psutil.Process(self.pid)
                whole.suspend()  # so that it starts nothing more
                for started in whole.children(recursive=True):
                    started.kill()
        super().kill()


class Context(multiprocessing.context.SpawnContext):
    """The spawn context of one pool, which remembers the processes it started."""

    def __init__(self, *, scratch: Path, main: bool, variables: Mapping[str, str] | None = None):
        self.processes: list[Process] = []
        self._settings: dict[str, Any] = {"scratch": scratch, "main": main, "variables": variables}

    def Process(self, **kwargs) -> Process:  # noqa: N802 # pyright: ignore[reportIncompatibleVariableOverride]
        """A process that is not started yet, with the executor's name and arguments."""
        self.processes.append(Process(**self._settings, **kwargs))
        return self.processes[-1]


def end_with_parent(scratch: Path):
    """End this process and remove its files when the parent ends. Workers of a killed parent would wait for ever.

    Call it in a worker, with the folder of its temporary files.
    """
    threading.Thread(target=_wait_for_end, args=(scratch,), daemon=True).start()


def _wait_for_end(scratch: Path):
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(1)


def threads(count: int) -> dict[str, str]:
    """The environment variables of a process that computes with so many threads, set before it imports JAX."""
    names = ("NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # the first is XLA's
    return dict.fromkeys(names, str(count))


def _variables(scratch: Path) -> dict[str, str]:
    """The environment variables that must be set before a worker imports JAX.

    The accelerator is left to the trainer. Each worker has one thread, because the processes provide the parallelism
    and sums in a different order would make results depend on the number of cores. Temporary files that environments
    leave behind are removed with the pool.
    """
    return {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip(),
        **threads(1),
        "TMPDIR": str(scratch),
    }
