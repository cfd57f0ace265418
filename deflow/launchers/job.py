"""A job: one command of a sweep, with the name of its folder."""

import dataclasses
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..commands import RECIPES, said
from ..errors import SweepError
from ..registry import suggestion

LIST_FILE = "sweep.txt"
"""The list's name, in the sweep's folder."""

_RUNS_OF = re.compile(r"\{([^{}]+)\}")


@dataclasses.dataclass(frozen=True)
class Job:
    """One run of a recipe that trains.

    As text it is `NAME: RECIPE ARGUMENTS`. The argument `{NAME}` stands for the runs of another job, which comes first.
    """

    name: str
    """The name of its folder, in the sweep's: all that distinguishes it from the others."""

    recipe: str
    """The recipe that it runs: `offline`."""

    arguments: tuple[str, ...]
    """The recipe's arguments, without the folder of the runs."""

    def __post_init__(self):
        if re.fullmatch(r"(?!\.)[^/\\{}\s]+", self.name) is None:
            raise SweepError(
                f"A run's name is that of its folder, without spaces, slashes and braces, got {self.name!r}."
            )
        if self.name == LIST_FILE:
            raise SweepError(f"{LIST_FILE} is the list's own name: give the run another.")
        if self.recipe not in RECIPES:
            raise SweepError(suggestion("recipe", self.recipe, RECIPES))

    @property
    def needs(self) -> tuple[str, ...]:
        """The names of the jobs whose runs it uses."""
        return tuple(dict.fromkeys(name for each in self.arguments for name in _RUNS_OF.findall(each)))

    def given(self, runs: Mapping[str, Sequence[Path]]) -> list[str]:
        """The arguments with the runs of the jobs that it needs."""
        words = []
        for each in self.arguments:
            match = _RUNS_OF.fullmatch(each)
            words += [each] if match is None else map(str, runs[match[1]])
        return words

    def __str__(self) -> str:
        return f"{self.name}: {shlex.join([said(self.recipe), *self.arguments])}"

    @classmethod
    def read(cls, line: str) -> "Job":
        """The inverse of `str`.

        Raises:
            SweepError: If the line has another form.
        """
        name, colon, command = line.partition(": ")
        try:
            words = shlex.split(command)
        except ValueError as error:
            raise SweepError(f"{error} in {command!r}: quote it as in a shell.") from error
        if not colon or not words:
            raise SweepError(f"A run is written NAME: RECIPE ARGUMENTS, got {line!r}.")
        return cls(name, words[0].replace("-", "_"), tuple(words[1:]))
