"""Launchers: what carries out the jobs of a sweep.

A complete member:

    @deflow.launchers.register("one-by-one")
    @dataclasses.dataclass(frozen=True)
    class OneByOne(deflow.launchers.AbstractLauncher):
        def launch(self, sweep, jobs, interrupt):
            for job in jobs:
                if not interrupt.is_set() and sweep.ready(job):
                    yield job, deflow.launchers.carry_out(sweep.folder, job, interrupt=interrupt)
"""

import abc
import dataclasses
import threading
from collections.abc import Iterator, Sequence
from typing import ClassVar

from ..errors import SweepError
from ..registry import Registry, missing_package
from .job import Job
from .record import Record
from .sweep import Sweep


@dataclasses.dataclass(frozen=True)
class AbstractLauncher(abc.ABC):
    """Carries out jobs. Its fields are its settings, and have defaults."""

    packages: ClassVar[tuple[str, ...]] = ()
    """The optional packages that it imports, looked for before any work."""

    extra: ClassVar[str | None] = None
    """The extra of deflow that installs the packages."""

    def check(self) -> None:
        """Looks whether it can be used, before any work.

        Raises:
            SweepError: If not: what is missing, and what to do.
        """
        for package in self.packages:
            if missing := missing_package(f"The launcher {registry.name_of(self)}", package, self.extra):
                raise SweepError(missing)

    @abc.abstractmethod
    def launch(self, sweep: Sweep, jobs: Sequence[Job], interrupt: threading.Event) -> Iterator[tuple[Job, Record]]:
        """Carry out these jobs, each after those that it needs, and give each with its record when it ends, until none
        is left. A job whose needs are not met by then is not given. One that was stopped early goes on.

        When `interrupt` is set, no further job begins; those that run are asked to end, or are left to their queue.
        """


@dataclasses.dataclass(frozen=True)
class AbstractStoppingLauncher(AbstractLauncher):
    """Carries out jobs, and stops those early that are poor compared with others: it takes another's place when a sweep
    is asked to."""

    instead_of: ClassVar[str]
    """The name of the launcher whose place it takes."""

    @property
    @abc.abstractmethod
    def rule(self) -> str:
        """Which jobs go on, in words."""


registry: Registry[AbstractLauncher] = Registry("launcher", "launchers", (AbstractLauncher,))
"""The launchers, by name."""
register = registry.register
"""Class decorator: adds a launcher under a name, see `deflow.registry.Registry.register`."""
