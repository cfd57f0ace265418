"""Joining the other processes of a training, on this machine or on others, before JAX is used."""

import contextlib
import hashlib
import os
import re
import signal
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import jax

from .. import hosts
from ..agent import AgentConfig, describe_agent
from ..data import Task
from ..errors import HostsError, UsageError, first_line
from ..progress import hush, working
from ..runs import Run, resume_command
from ..workers.last_words import last_words
from .resuming import describe_options

PATIENCE = 300
"""Seconds that the processes wait for each other at the beginning."""

OWN = ("join", "workers", "data", "data_dir", "output_dir", "import_")
"""Options in which processes that train together may differ: what each finds on its own machine."""

FAREWELL = 1.0
"""Seconds between what the leading process says last and its end."""

SILENCE = 100
"""Seconds of silence after which a process counts as gone."""


def join(given: str | None) -> None:
    """Bring the processes of a training together: `0/2@HOST:PORT` is the first of two, whose address is behind it. By
    default they are those that Slurm started; otherwise this one is alone, and nothing happens.

    All but the leading process are silent from then on, but for errors.

    Raises:
        HostsError: If they do not find each other.
        UsageError: If `given` is of another form.
    """
    if given is None and not _in_step_of_slurm():
        return
    told: dict[str, Any] = {}
    if given is not None:
        found = re.fullmatch(r"(\d+)/(\d+)@(.+:(\d+))", given)
        if found is None or int(found[1]) >= int(found[2]) or not 0 < int(found[4]) < 1 << 16:
            raise UsageError(
                f"--join {given}: give the number of this process, how many there are, and the address of number 0, as "
                "in 0/2@10.0.0.1:1234 and 1/2@10.0.0.1:1234."
            )
        told = {"process_id": int(found[1]), "num_processes": int(found[2]), "coordinator_address": found[3]}
        told["cluster_detection_method"] = "deactivate"
    where = "those that Slurm started" if given is None else f"at {told['coordinator_address']}"
    failed = (
        f"The processes that shall train together ({where}) did not find each other within {PATIENCE} s: start all of "
        "them, each with its own number and with the same address, which every machine must reach."
    )
    last_words.begin(failed)
    print(f"Waiting for the other processes ({where}), for {PATIENCE} s at most.", flush=True)
    try:
        with working("waiting"), _interruptible():
            jax.distributed.initialize(**told, initialization_timeout=PATIENCE, heartbeat_timeout_seconds=SILENCE)
    except (ValueError, RuntimeError) as error:
        raise HostsError(f"{failed} ({first_line(error)})") from error
    if hosts.count() == 1:
        return
    counts = hosts.gathered(told.get("num_processes"))
    if len(set(counts)) > 1:
        raise UsageError(f"The processes were told different numbers of them by --join: {', '.join(map(str, counts))}.")
    last_words.say(_gone())
    if not hosts.leads():
        print(f"Process {jax.process_index()} of {hosts.count()}: what happens is said by process 0.", flush=True)
        hush()
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
        warnings.simplefilter("ignore")


def check_alike(options: Any, config: AgentConfig) -> None:
    """Compare what the processes of a training were told.

    Raises:
        UsageError: If it differs.
    """
    told = {name: value for name, value in describe_options(options).items() if name not in OWN}
    flags = {f"--{name.replace('_', '-')}": value for name, value in told.items()}
    flags["the files of --import"] = [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in options.import_]
    parts = {f"its {kind.replace('_', ' ')}": part for kind, part in describe_agent(config).items()}
    first, *others = hosts.gathered(flags | parts)
    for process, other in enumerate(others, start=1):
        if different := [name for name in first if first[name] != other.get(name)]:
            raise UsageError(
                f"Process {process} was given another command than process 0, and differs in {', '.join(different)}: "
                "start all processes with the same arguments, but for --join."
            )


def loaded(load: Callable[[], Task]) -> Task:
    """A task that the leading process has loaded before all others, which then find its files.

    Raises:
        UsageError: If the processes found different data.
    """
    task = hosts.leader_first(load)
    first, *others = hosts.gathered(task.provenance.sha256)
    for process, digest in enumerate(others, start=1):
        if digest != first:
            raise UsageError(
                f"Process {process} has other data than process 0 (sha256 {digest[:12]}, not {first[:12]}): give all "
                "of them the same file, or a --data-dir that they share."
            )
    return task


def end_with(run: Run) -> None:
    """Name the run with which all go on, should this process end because another one is gone."""
    if joined():
        _known.append(run)
        last_words.say(f"{_gone()}{go_on()}")


def go_on() -> str:
    """A sentence with the command that goes on, if there is something to go on with."""
    return f" Go on with: {resume_command(_known[-1])}" if _known else ""


def joined() -> bool:
    """Whether other processes train together with this one."""
    return jax.distributed.is_initialized() and hosts.count() > 1


def leave(code: int) -> NoReturn:
    """End this process, of those that train together, and with it the others. An orderly exit would wait for them."""
    sys.stdout.flush()
    sys.stderr.flush()
    if hosts.leads():  # whose end would end those that are about to say the same
        time.sleep(FAREWELL)
    os._exit(code)


_known: list[Run] = []


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """A context in which Ctrl-C ends the process at once: Python hears of nothing while JAX waits."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _gone() -> str:
    return (
        f"Another of the {hosts.count()} processes that train together has ended or cannot be reached, so this one "
        f"(number {jax.process_index()}) ends, too: see what it says, and start all of them again."
    )


def _in_step_of_slurm() -> bool:
    """Whether Slurm runs this program as several processes: `srun --ntasks 2 python recipes/offline.py`."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
