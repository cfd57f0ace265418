"""One of the processes that train together in `test_hosts.py`.

python tests/several_processes.py FOLDER PROCESS
"""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

CASES = (
    "seeds",
    "batch",
    "seeds-from-proposals-on-the-host",
    "two-seeds-a-device-from-shared-proposals-divided",
    "batch-divided-data",
)


def pushes(observation, *, key):
    """A policy that asks the state alone."""
    return observation[2:] / 8


def main(folder, process):
    from deflow.cli.joining import join

    join(None)  # as in a step of Slurm

    import several_devices  # which uses JAX

    from deflow import Evaluator, hosts
    from deflow.errors import EvaluationInterrupted
    from deflow.evaluation import SharedEvaluator

    for name in CASES:
        key, devices, given = several_devices.CASES[name]
        np.savez(folder / f"{name}-{process}", *several_devices.numbers(several_devices.trained(key, devices, **given)))
    with Evaluator("Pendulum-v1", workers=1) as own:
        np.save(folder / f"returns-{process}", SharedEvaluator(own)(pushes, episodes=3, seed=5).returns)
        interrupt = threading.Event()
        if process == 1:
            interrupt.set()
        with pytest.raises(EvaluationInterrupted):
            SharedEvaluator(own)(pushes, episodes=3, seed=5, interrupt=interrupt)
    assert hosts.gathered(process) == [0, 1]
    assert hosts.any_of(process == 1)
    assert not hosts.any_of(False)
    assert hosts.led(lambda: process) == 0
    with pytest.raises(ValueError, match="no number: 0"):
        hosts.led(lambda: int(f"no number: {process}"))
    assert hosts.leader_first(lambda: process) == process
    (folder / f"done-{process}").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
