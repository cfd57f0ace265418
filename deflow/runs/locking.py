"""Folders that one process works on at a time."""

from pathlib import Path

import filelock

from ..errors import RunError


class FolderLock:
    """Keeps other processes from a folder, from `acquire` until `release`, or until this process ends."""

    def __init__(self, folder: Path, name: str):
        """`name` is that of the lock's file."""
        self._folder, self._lock = folder, filelock.FileLock(folder / name)

    def acquire(self) -> None:
        """Make the folder, and lock it.

        Raises:
            RunError: If another process works on it, or it cannot be written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise RunError(f"Another process works on {self._folder}: wait until it ends, or end it.") from None
        except OSError as error:
            raise RunError(f"Cannot write {self._folder}: {error.strerror or error}; choose another folder.") from error

    def release(self) -> None:
        """Let others work on it."""
        self._lock.release()
