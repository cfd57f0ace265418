"""What a worker process is asked from outside. Its answers are plain data: failures too come back as text."""

import faulthandler
import os
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from deflow.evaluation.episode import Worker
from deflow.evaluation.errors import EvaluationError
from deflow.spawning import end_with_parent

_worker: Worker | None = None


class Failure(NamedTuple):
    """An exception as text, since not every exception survives the way between processes."""

    text: str


def start(environment: bytes, directory: str):
    """Set up a fresh process that evaluates a pickled environment."""
    global _worker
    end_with_parent(Path(directory))
    warnings.simplefilter("ignore")  # the same ones from every worker would bury the training's own output
    note = open(Path(directory, f"worker-{os.getpid()}"), "w")  # noqa: SIM115 (open for life)
    faulthandler.enable(note)
    _worker = Worker(environment, note)


def call(method: Callable, *arguments):
    """The result of one of `Worker`'s methods on this process's worker, or a `Failure`."""
    try:
        return method(_worker, *arguments)
    except EvaluationError as error:
        return Failure(str(error))
    except BaseException:
        return Failure(f"The worker's traceback:\n{traceback.format_exc().rstrip()}")
