"""The runs of a training by several processes: one of them writes, and all go by what it finds."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .. import hosts
from ..errors import RunError
from .checkpoints import Like, Restored
from .group import RunGroup
from .pytrees import PyTree
from .run import Run
from .stopped import Stopped


class HostsGroup:
    """What a `RunGroup` is to a training by one process. All processes must make the same calls, and see the runs'
    folders: only the leading one writes there."""

    def __init__(self, make: Callable[[], RunGroup]):
        """The runs that `make` creates or opens in the leading process.

        Raises:
            RunError: If they cannot be made, or are not seen here.
        """
        made: list[RunGroup] = []
        paths = hosts.led(lambda: made.append(make()) or [run.path for run in made[0].runs])
        try:
            self._group = made[0] if made else RunGroup([Run.open(path) for path in paths])
        except RunError as error:
            raise RunError(
                f"This process does not see the runs that the leading one made ({error}): give all of them a folder "
                "that they share."
            ) from error

    @property
    def runs(self) -> tuple[Run, ...]:
        """One run per seed."""
        return self._group.runs

    @property
    def stopped(self) -> dict[int, Stopped]:
        """The runs that stopped, by their index in `runs`."""
        return self._group.stopped

    @property
    def failures(self) -> list[str]:
        """What this process could not write, one sentence each."""
        return self._group.failures

    def lock(self) -> None:
        """As `RunGroup.lock`."""
        hosts.led(self._group.lock)

    def unlock(self) -> None:
        """As `RunGroup.unlock`."""
        if hosts.leads():
            self._group.unlock()

    def restore(self, like: Like) -> Restored | None:
        """As `RunGroup.restore`, first in the leading process.

        Raises:
            RunError: If this process finds other checkpoints than the leading one.
        """
        found = hosts.leader_first(lambda: self._group.restore(like))
        step = None if found is None else found[2]
        for other in hosts.gathered(step):
            if other != step:
                raise RunError(
                    f"The processes see different checkpoints of {self.runs[0].path}: give all of them a folder that "
                    "they share."
                )
        return found

    def rewind(self, step: int) -> None:
        """As `RunGroup.rewind`."""
        hosts.led(lambda: self._group.rewind(step))

    def evaluated(self) -> set[int]:
        """As `RunGroup.evaluated`."""
        return hosts.led(self._group.evaluated)

    def has_best(self, step: int) -> bool:
        """As `RunGroup.has_best`."""
        return hosts.led(lambda: self._group.has_best(step))

    def has_saved(self, step: int) -> bool:
        """As `RunGroup.has_saved`, in the leading process; the others rely on it."""
        return not hosts.leads() or self._group.has_saved(step)

    def log(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """As `RunGroup.log`."""
        if hosts.leads():
            self._group.log(step, rows)

    def log_evaluation(self, step: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """As `RunGroup.log_evaluation`."""
        if hosts.leads():
            self._group.log_evaluation(step, rows)

    def save(self, step: int, states: Sequence[PyTree], notes: Sequence[Mapping[str, Any]]) -> None:
        """As `RunGroup.save`."""
        if hosts.leads():
            self._group.save(step, states, notes)

    def save_best(
        self, step: int, scores: Sequence[float], states: Sequence[PyTree], notes: Sequence[Mapping[str, Any]]
    ) -> None:
        """As `RunGroup.save_best`."""
        if hosts.leads():
            self._group.save_best(step, scores, states, notes)

    def stop(self, index: int, step: int, reason: str) -> None:
        """As `RunGroup.stop`."""
        self._group.stopped[index] = hosts.led(lambda: self._group.stop(index, step, reason) or self.stopped[index])

    def wait(self) -> None:
        """As `RunGroup.wait`."""
        self._group.wait()

    def close(self) -> None:
        """As `RunGroup.close`."""
        if hosts.leads():
            self._group.close()


def runs_together(make: Callable[[], RunGroup]) -> RunGroup | HostsGroup:
    """The runs that `make` creates or opens, for this process or for all that train together."""
    return make() if hosts.count() == 1 else HostsGroup(make)


@contextlib.contextmanager
def locked(group: RunGroup | HostsGroup) -> Iterator[None]:
    """A context in which other processes are kept from training these runs, also before they are trained themselves.

    Raises:
        RunError: If another process is training them.
    """
    group.lock()
    try:
        yield
    finally:
        group.unlock()
