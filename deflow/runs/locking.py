"""Folders that one process works on at a time."""

import fcntl
import os
from pathlib import Path

import filelock

from ..errors import RunError

PATIENCE = 0.5
"""Seconds that a lock is waited for: whoever looks at it holds it for a moment."""


class FolderLock:
    """Keeps other processes from a folder, from `acquire` until `release`, or until this process ends."""

    def __init__(self, folder: Path, name: str):
        """`name` is that of the lock's file."""
        self._folder, self._lock = folder, filelock.FileLock(folder / name)

    @property
    def held(self) -> bool:
        """Whether a process works on the folder."""
        return bool(is_locked(Path(self._lock.lock_file)))

    def acquire(self) -> None:
        """Make the folder, and lock it.

        Raises:
            RunError: If another process works on it, or it cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=PATIENCE, poll_interval=0.05)
        except filelock.Timeout:
            raise RunError(f"Another process works on {self._folder}: wait until it ends, or end it.") from None
        except OSError as error:
            raise RunError(f"Cannot write {self._folder}: {error.strerror or error}; choose another folder.") from error

    def release(self) -> None:
        """Let others work on it."""
        self._lock.release()


def is_locked(lock: Path) -> bool | None:
    """Whether a process holds the lock of this file; None if none ever has."""
    try:
        file = os.open(lock, os.O_RDONLY)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # let go when the file is closed
    except OSError:
        return True
    finally:
        os.close(file)
    return False
