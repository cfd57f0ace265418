"""Worker processes that play episodes: spawned, one thread each, gone when their parent is gone."""

import concurrent.futures
import contextlib
import functools
import multiprocessing
import os
import pathlib
import threading
from collections.abc import Iterator

from deflow.data.episodes import play_episode, write_episode
from deflow.data.errors import CollectionError
from deflow.data.names import parse_task_name
from deflow.data.oracles import Behaviour, behaviour_of
from deflow.data.quiet import quiet_imports, quiet_spaces
from deflow.processes import environment_variables, without_interrupts, without_main

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""What keeps linear algebra in a worker from using the other workers' cores."""


@contextlib.contextmanager
def worker_pool(workers: int) -> Iterator[concurrent.futures.ProcessPoolExecutor]:
    """A pool of spawned processes; at an error or Ctrl-C they are ended at once.

    They are born deaf to Ctrl-C: their parent hears it and decides.
    """
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start
    )
    with environment_variables(ONE_THREAD):  # read by a child when it imports NumPy
        try:
            with without_interrupts(), without_main():
                for _ in range(workers):
                    pool.submit(os.getpid)  # each job starts a process, since none is idle yet
            yield pool
            pool.shutdown()
        except BaseException:
            processes = list((pool._processes or {}).values())
            pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            raise


def collect_episode(task_name: str, path: str, seed: int, split: str, index: int, steps: int) -> int:
    """Play one episode in a worker and keep it; returns its number of transitions."""
    write_episode(
        pathlib.Path(path), play_episode(_behaviour(task_name), seed=seed, split=split, index=index, steps=steps)
    )
    return steps


@functools.lru_cache(maxsize=1)
def _behaviour(task_name: str) -> Behaviour:
    task = parse_task_name(task_name)
    if task is None:
        raise CollectionError(f"{task_name} is not an OGBench task, so that there is no oracle to collect it.")
    with quiet_imports(), quiet_spaces():
        return behaviour_of(task)(task.base_id)


def _start() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()  # a killed parent leaves its workers waiting for work for ever
        os._exit(1)
