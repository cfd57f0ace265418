"""Loggers: where the rows of a run go, besides its CSV files.

A complete member:

    @deflow.runs.loggers.register("lines")
    class Lines(deflow.runs.loggers.AbstractLogger):
        def open(self, run, after):
            self.file = open(run.path / "rows.txt", "w" if after < 0 else "a")

        def row(self, step, metrics):
            print(step, metrics, file=self.file, flush=True)
"""

import abc
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ...errors import RunError
from ...registry import Registry, missing_package


@dataclasses.dataclass(frozen=True)
class LoggedRun:
    """What a logger is told of its run."""

    path: Path
    """The run's directory, in which a logger keeps its files."""

    environment: str
    """The name of the environment or task."""

    algorithm: str
    """The name of the algorithm."""

    seed: int
    """The run's seed."""

    config: Mapping[str, Any]
    """The configuration of config.json."""

    def flat_config(self) -> dict[str, bool | int | float | str]:
        """The configuration with one entry per value, such as `agent.solver.steps`. Lists are JSON; what is null is
        left out."""
        about = {"environment": self.environment, "algorithm": self.algorithm, "seed": self.seed}
        return {**_flat(self.config), **about}


class AbstractLogger(abc.ABC):
    """Takes the rows of one run, in a thread of its own.

    It gets exactly the rows of train.csv and eval.csv, in order, also if training is killed, resumed or goes back. What
    it raises is said once, and training goes on without it.
    """

    package: ClassVar[str | None] = None
    """The optional package that it imports, looked for before any work."""

    extra: ClassVar[str | None] = None
    """The extra of deflow that installs the package."""

    forgets: ClassVar[bool] = False
    """Whether `open` can take back rows. If not, rows that a resumed training makes again are not passed on again; and
    if they are different this time, the logger is opened anew, and gets all rows from the first."""

    settles: float = 0.0
    """Seconds until what was logged and flushed survives if the process is killed. Rows that are younger then come
    again."""

    def check(self) -> None:
        """Looks whether it can be used, before any work.

        Raises:
            RunError: If not: what is missing, and what to do.
        """
        if missing := missing_package(f"The logger {registry.name_of(self)}", self.package, self.extra):
            raise RunError(missing)

    def holds(self, run: LoggedRun) -> bool:
        """Whether what was logged before is still there. If not, it is opened anew, and gets all rows."""
        return True

    @abc.abstractmethod
    def open(self, run: LoggedRun, after: int) -> None:
        """Begin, if `after` is negative: what was logged before does not count. Else go on: rows up to step `after`
        have been logged, and later ones are taken back by a logger that `forgets`."""

    @abc.abstractmethod
    def row(self, step: int, metrics: Mapping[str, float]) -> None:
        """A row of train.csv or eval.csv: its step, and its metrics by name, without blanks."""

    def picture(self, name: str, path: Path, step: int) -> None:  # noqa: B027 - not everyone shows pictures
        """A PNG file. One that is not shown is no error."""

    def video(self, name: str, path: Path, step: int) -> None:  # noqa: B027
        """An MP4 file."""

    def flush(self) -> None:  # noqa: B027
        """Called when there is no further row yet: what was logged should survive a crash."""

    def close(self) -> None:  # noqa: B027
        """Called at the end, and before it is opened again."""


registry: Registry[AbstractLogger] = Registry("logger", "runs.loggers", (AbstractLogger,))
"""The loggers, by name."""
register = registry.register
"""Class decorator: adds a logger under a name, see `deflow.registry.Registry.register`."""


def check_loggers(names: Sequence[str]) -> tuple[str, ...]:
    """The names, once each, before any work.

    Raises:
        UnknownNameError: For a name that is not registered.
        RunError: If a logger cannot be used, for example because its package is missing.
    """
    names = (names,) if isinstance(names, str) else tuple(dict.fromkeys(names))
    for name in names:
        registry[name]().check()
    return names


def _flat(value: Any, name: str = "") -> dict[str, bool | int | float | str]:
    if isinstance(value, Mapping):
        inner = [_flat(entry, f"{name}.{key}" if name else str(key)) for key, entry in value.items()]
        return {key: entry for each in inner for key, entry in each.items()}
    if value is None:
        return {}
    return {name: value if isinstance(value, bool | int | float | str) else json.dumps(value)}
