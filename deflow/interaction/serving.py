"""The worker process: it answers requests on its connection, and reports failures as plain text."""

import contextlib
import faulthandler
import signal
import traceback
import warnings
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from ..errors import InteractionError
from ..workers import end_with_parent
from .player import Player


class Failure(NamedTuple):
    """An exception as text, since not every exception can be sent between processes."""

    where: str
    text: str


def serve(connection: Connection, environment: bytes, seed: int, index: int, scratch: Path):
    """Answer requests `(method of Player, *arguments)` until the parent is gone.

    SIGTERM is ignored. A job scheduler sends it to all processes, and the parent then still needs the workers' state
    for its last checkpoint.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent(scratch)
    warnings.simplefilter("ignore")  # the same ones from every worker would bury the training's own output
    faulthandler.enable()
    player = Player(environment, seed, index)
    with contextlib.suppress(EOFError, OSError):
        while True:
            connection.send(_answer(player, *connection.recv()))
    signal.pause()  # the other end is closed: the parent is about to end, and this process with it


def _answer(player: Player, method: str, *arguments):
    try:
        return getattr(player, method)(*arguments)
    except InteractionError as error:
        return Failure(player.where, str(error))
    except BaseException:
        return Failure(player.where, f"The worker's traceback:\n{traceback.format_exc().rstrip()}")
