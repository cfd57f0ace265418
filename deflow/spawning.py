"""How worker processes come into the world (fresh, on the CPU, with one thread, deaf to Ctrl-C) and leave it."""

import contextlib
import multiprocessing.context
import os
import shutil
import threading
from pathlib import Path

from deflow.processes import environment_variables, without_interrupts, without_main


class Process(multiprocessing.context.SpawnProcess):
    """A spawned process. `main` says whether it needs the parent's script, which spawning would run once more."""

    def __init__(self, *, scratch: Path, main: bool, **kwargs):
        super().__init__(**kwargs)
        self._scratch = scratch
        self._main = main

    def start(self):
        """Start with the surroundings of a worker, and put the parent's own back."""
        hidden = contextlib.nullcontext() if self._main else without_main()
        with environment_variables(_variables(self._scratch)), without_interrupts(), hidden:
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


def end_with_parent(scratch: Path):
    """Leave no orphan and no files however the parent ends: a killed one leaves its workers waiting for work for ever.

    To be called in a worker, with the folder of its temporary files.
    """
    threading.Thread(target=_wait_for_end, args=(scratch,), daemon=True).start()


def _wait_for_end(scratch: Path):
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        shutil.rmtree(scratch, ignore_errors=True)
        os._exit(1)


def _variables(scratch: Path) -> dict[str, str]:
    """The environment variables a worker must find before it imports JAX.

    The accelerator stays the trainer's. One thread each: the processes are the parallelism, and sums in another order
    would make results depend on the number of cores. Temporary files that environments leave behind go with the pool.
    """
    return {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip(),
        "NPROC": "1",  # the size of XLA's thread pool
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "TMPDIR": str(scratch),
    }
