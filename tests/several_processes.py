"""One of the processes that train together in `test_hosts.py`.

python tests/several_processes.py FOLDER PROCESS
"""

import dataclasses
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

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


@dataclasses.dataclass(frozen=True)
class Options:
    """A recipe's, of which processes may differ in `workers`."""

    workers: int
    batch_size: int = 256
    import_: tuple[Path, ...] = ()


def main(folder, process):
    from deflow.cli.joining import check_alike, join, loaded

    join(None)  # as in a step of Slurm

    import several_devices  # which uses JAX

    from deflow import Evaluator, agent_config, hosts
    from deflow.errors import EvaluationInterrupted, UsageError
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
    config = agent_config("deflow")
    check_alike(Options(process), config)
    with pytest.raises(UsageError, match=r"^Process 1 was given another command than process 0, .* in --batch-size:"):
        check_alike(Options(1, batch_size=process), config)
    own = folder / f"imported-{process}.py"
    own.write_text(f"SCALE = {process}")
    with pytest.raises(UsageError, match=r"in the files of --import: start"):
        check_alike(Options(1, import_=(own,)), config)
    with pytest.raises(UsageError, match="and differs in its solver, its discount: start all"):
        check_alike(Options(1), agent_config("deflow", solver=["euler", "heun"][process], discount=0.9 + process / 100))
    assert loaded(lambda: SimpleNamespace(provenance=SimpleNamespace(sha256="0" * 64))) is not None
    with pytest.raises(UsageError, match=r"^Process 1 has other data than process 0 \(sha256 1{12}, not 0{12}\): give"):
        loaded(lambda: SimpleNamespace(provenance=SimpleNamespace(sha256=f"{process}" * 64)))
    (folder / f"done-{process}").touch()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
