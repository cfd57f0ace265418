"""A grid over what the command line knows, as jobs."""

import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence

from ..errors import SweepError
from .job import Job

LONGEST = 120
"""Characters of a job's name; a longer one is cut, and ends with a digest of the whole."""


def axes_of(over: Sequence[str]) -> dict[str, list[str]]:
    """`["env=a,b", "algorithm=fql"]` as values by name.

    Raises:
        SweepError: If one has another form, or a name or a value comes twice.
    """
    axes: dict[str, list[str]] = {}
    for each in over:
        name, equals, values = each.partition("=")
        name = name.removeprefix("--").replace("_", "-")
        axis = [value.strip() for value in values.split(",")]
        if not equals or not name or "" in axis:
            raise SweepError(f"What is varied is written NAME=VALUE,VALUE, got {each!r}.")
        if name == "seeds":
            raise SweepError("Seeds are no axis of the grid: give them apart, as 0:8 or 0 1 2.")
        if name in axes or len(set(axis)) < len(axis):
            raise SweepError(
                f"Every name and every value is given once, got {each!r}{' again' if name in axes else ''}."
            )
        axes[name] = axis
    return axes


def seeds_of(words: Sequence[str]) -> list[int]:
    """`["0:3", "7"]` as 0, 1, 2, 7.

    Raises:
        SweepError: If one has another form, or comes twice.
    """
    seeds: list[int] = []
    for word in (piece for each in words for piece in each.split(",") if piece):
        match = re.fullmatch(r"(\d+)(?::(\d+))?", word)
        if match is None:
            raise SweepError(f"Seeds are numbers, or a range such as 0:8, which ends with 7; got {word!r}.")
        first = int(match[1])
        seeds += range(first, int(match[2]) if match[2] else first + 1)
    if not seeds or len(set(seeds)) < len(seeds):
        raise SweepError(f"Seeds must be different numbers from 0 up, got {' '.join(words)}.")
    return seeds


def cells_of(
    recipe: str, axes: Mapping[str, Sequence[str]], common: Sequence[str], *, kinds: Sequence[str]
) -> list[Job]:
    """A job for each cell of the grid, without seeds.

    `algorithm` is the recipe's first argument, a kind of part is a choice of one, and every other name is a flag.
    `common` are the arguments that all have.
    """
    jobs = []
    for values in itertools.product(*axes.values()):
        cell = dict(zip(axes, values, strict=True))
        begin = [cell["algorithm"]] if "algorithm" in cell else []
        chosen = [f"{name}:{value}" for name, value in cell.items() if name in kinds]
        flags = [
            word for name, value in cell.items() if name not in (*kinds, "algorithm") for word in (f"--{name}", value)
        ]
        rest = list(common)
        if not begin and rest and not rest[0].startswith("-") and ":" not in rest[0]:
            begin = [rest.pop(0)]
        jobs.append(Job(_name(cell) or recipe, recipe, (*begin, *rest, *flags, *chosen)))
    return jobs


def with_seeds(job: Job, seeds: Sequence[int], *, together: int, existing: Sequence[Job] = ()) -> list[Job]:
    """A job for every so many of the seeds, but for those that an existing job of the same arguments has."""
    arguments = (*job.arguments, "--seeds")
    taken = {seed for other in existing if other.recipe == job.recipe for seed in _seeds(other, arguments)}
    left, jobs = [seed for seed in seeds if str(seed) not in taken], []
    for first in range(0, len(left), together):
        some = [str(seed) for seed in left[first : first + together]]
        name = f"{job.name},seed{'s' * (len(some) > 1)}={'+'.join(some)}"
        jobs.append(Job(_cut(name, name), job.recipe, (*arguments, *some)))
    return jobs


def _seeds(job: Job, arguments: tuple[str, ...]) -> tuple[str, ...]:
    """The seeds of a job, if it is of these arguments."""
    if job.arguments[: len(arguments)] != arguments:
        return ()
    return tuple(itertools.takewhile(lambda word: not word.startswith("--"), job.arguments[len(arguments) :]))


def _name(cell: Mapping[str, str]) -> str:
    words = [value if name in ("env", "algorithm") else f"{name}={value}" for name, value in cell.items()]
    return job_name(",".join(words))


def job_name(whole: str) -> str:
    """A name that a folder can have, with a digest where it is not the whole itself."""
    return _cut(re.sub(r"[^\w.,=+-]", "_", whole).lstrip("."), whole)


def _cut(name: str, whole: str) -> str:
    """The name, with a digest of the whole if it is too long or differs from it."""
    if name == whole and len(name) <= LONGEST:
        return name
    return f"{name[: LONGEST - 9]}-{hashlib.sha256(whole.encode()).hexdigest()[:8]}"
