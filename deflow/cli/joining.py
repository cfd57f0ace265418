"""Joining the other processes of a training, on this machine or on others, before JAX is used."""

import os
import sys
import warnings
from typing import Any

import jax

from .. import hosts
from ..errors import HostsError, UsageError, first_line
from ..progress import hush
from ..runs import Run, resume_command
from ..workers.last_words import last_words

PATIENCE = 300
"""Seconds that the processes wait for each other at the beginning."""

SILENCE = 100
"""Seconds of silence after which a process counts as gone."""


def join(options: Any) -> None:
    """Bring the processes of a training together: as `options` say, or as Slurm does. Alone, nothing happens.

    All but the leading process are silent from then on, but for errors.

    Raises:
        HostsError: If they do not find each other.
        UsageError: If an option is missing.
    """
    given = {"coordinator": options.coordinator, "processes": options.processes, "process": options.process}
    missing = [name for name, value in given.items() if value is None]
    if missing and len(missing) < len(given):
        raise UsageError(
            f"--{missing[0]} is missing: --coordinator, --processes and --process belong together. Give all three, or "
            "none for a process that trains alone or under Slurm."
        )
    if missing and not _in_step_of_slurm():
        return
    if not missing and not 0 <= options.process < options.processes:
        raise UsageError(
            f"--process counts from 0 to {options.processes - 1}, since --processes is {options.processes}, got "
            f"{options.process}."
        )
    where = "Slurm's node of the first one" if missing else options.coordinator
    failed = (
        f"The processes that shall train together did not find each other at {where} within {PATIENCE} s: start all of "
        "them with the same address, which every machine must reach."
    )
    last_words.begin(failed)
    told = (
        {}
        if missing
        else {
            "coordinator_address": options.coordinator,
            "num_processes": options.processes,
            "process_id": options.process,
            "cluster_detection_method": "deactivate",
        }
    )
    try:
        jax.distributed.initialize(**told, initialization_timeout=PATIENCE, heartbeat_timeout_seconds=SILENCE)
    except (ValueError, RuntimeError) as error:
        raise HostsError(f"{failed} ({first_line(error)})") from error
    if hosts.count() == 1:
        return
    last_words.say(_gone())
    if not hosts.leads():
        print(f"Process {jax.process_index()} of {hosts.count()}: what happens is said by process 0.", flush=True)
        hush()
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
        warnings.simplefilter("ignore")


def end_with(run: Run) -> None:
    """Name the run with which all go on, should this process end because another one is gone."""
    last_words.say(
        f"{_gone()} Up to the last checkpoint all is kept: start all of them again with {resume_command(run)}"
    )


def _gone() -> str:
    return (
        f"Another of the {hosts.count()} processes that train together has ended or cannot be reached, so this one "
        f"(number {jax.process_index()}) ends, too: see what it says."
    )


def _in_step_of_slurm() -> bool:
    """Whether Slurm runs this program as several processes: `srun --ntasks 2 python recipes/offline.py`."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
