"""How worker processes come into the world: fresh, on the CPU, with one thread, deaf to Ctrl-C."""

import contextlib
import multiprocessing.context
import os
import signal
import sys
import types
from pathlib import Path


class Process(multiprocessing.context.SpawnProcess):
    """A spawned process. `main` says whether it needs the parent's script, which spawning would run once more."""

    def __init__(self, *, scratch: Path, main: bool, **kwargs):
        super().__init__(**kwargs)
        self._scratch = scratch
        self._main = main

    def start(self):
        """Start with the surroundings of a worker, and put the parent's own back."""
        with _variables(self._scratch), _without_interrupts(), contextlib.nullcontext() if self._main else _no_main():
            super().start()


class Context(multiprocessing.context.SpawnContext):
    """The spawn context of one pool, which remembers the processes it started."""

    def __init__(self, *, scratch: Path, main: bool):
        self.processes: list[Process] = []
        self._settings = {"scratch": scratch, "main": main}

    def Process(self, **kwargs) -> Process:  # noqa: N802 # pyright: ignore[reportIncompatibleVariableOverride]
        """A process not yet started: the name and the arguments are the executor's."""
        self.processes.append(Process(**self._settings, **kwargs))
        return self.processes[-1]


@contextlib.contextmanager
def _variables(scratch: Path):
    """The environment variables a worker must find before it imports JAX.

    The accelerator stays the trainer's. One thread each: the processes are the parallelism, and sums in another order
    would make results depend on the number of cores. Temporary files that environments leave behind go with the pool.
    """
    values = {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip(),
        "NPROC": "1",  # the size of XLA's thread pool
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TMPDIR": str(scratch),
    }
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
def _without_interrupts():
    """Block Ctrl-C in this thread, and so for good in a process that it starts: the parent alone answers it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _no_main():
    """Hide the parent's script, so that the child does not run it again and it needs no `__name__` guard."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
