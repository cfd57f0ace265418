"""Worker processes end, with whatever they started."""

import subprocess
import sys
import time

import psutil

from deflow.workers import WorkerPool


def start_another(path):
    """A job that starts a process of its own, as a library or a simulator would, and waits for it."""
    program = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()} '); time.sleep(600)"
    subprocess.run([sys.executable, "-c", program, path])


def test_a_pool_that_is_killed_leaves_nothing_behind(tmp_path):
    file, pool = tmp_path / "pid", WorkerPool(1)
    pool.submit(start_another, str(file))
    while not (file.exists() and file.read_text().endswith(" ")):
        time.sleep(0.02)
    started = psutil.Process(int(file.read_text()))
    pool.kill()
    _, alive = psutil.wait_procs([started], timeout=10)
    assert all(process.status() == psutil.STATUS_ZOMBIE for process in alive)  # which nobody has waited for
