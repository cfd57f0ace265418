"""Task names: each gives the environment to play in and the dataset to learn from.

`cube-single-play-singletask-task2-v0` is task 2 in the environment `cube-single-singletask-task2-v0`, learned from the
dataset `cube-single-play-v0`. The five tasks of an environment share one dataset.
"""

import contextlib
import dataclasses
import difflib
import functools
import importlib
import io
import multiprocessing
import re

import gymnasium

from ..commands import command
from ..errors import UnknownTaskError
from .third_party_warnings import quiet_imports

with quiet_imports():
    import ogbench  # noqa: F401 (registers the environments)

DATASET_TYPES = {
    "pointmaze": ("navigate", "stitch"),
    "antmaze": ("navigate", "stitch", "explore"),
    "humanoidmaze": ("navigate", "stitch"),
    "antsoccer": ("navigate", "stitch"),
    "cube": ("play", "noisy"),
    "scene": ("play", "noisy"),
    "puzzle": ("play", "noisy"),
}
"""The kinds of dataset OGBench publishes, by family."""

EXTRAS = {"gymnasium_robotics": "robotics"}
"""Modules that register environments, and the extra of deflow that installs them."""


@dataclasses.dataclass(frozen=True)
class TaskName:
    """The parts of an OGBench single-task name."""

    environment_id: str
    """The Gymnasium id, such as `cube-single-singletask-task2-v0`."""

    dataset: str
    """The dataset's name, such as `cube-single-play-v0`."""

    base_id: str
    """The Gymnasium id without a task, such as `cube-single-v0`: where data is collected."""

    kind: str
    """The kind of the dataset: play, noisy, navigate, stitch or explore."""

    @property
    def of_states(self) -> "TaskName":
        """The same task where its observations are states: itself, unless they are images."""
        return TaskName(*(getattr(self, field.name).removeprefix("visual-") for field in dataclasses.fields(self)))

    @property
    def family(self) -> str:
        """The kind of environment: cube, scene, puzzle, pointmaze, antmaze, humanoidmaze or antsoccer."""
        return _family(self.base_id)


@functools.cache
def task_names(*, pixels: bool = False) -> tuple[str, ...]:
    """Sorted names of OGBench's single-task problems, including the visual ones if `pixels`."""
    names = []
    for identifier in gymnasium.registry:
        parts = identifier.split("-")
        if "singletask" not in parts or (parts[0] == "visual" and not pixels):
            continue
        place = parts.index("singletask")
        names += [
            "-".join([*parts[:place], kind, *parts[place:]]) for kind in DATASET_TYPES.get(_family(identifier), ())
        ]
    return tuple(sorted(names))


def parse_task_name(name: str) -> TaskName | None:
    """The parts of an OGBench single-task name; None for another Gymnasium id.

    Raises:
        UnknownTaskError: If there is neither such a task nor such an environment. The message gives the nearest names.
    """
    if name in task_names(pixels=True):
        parts = name.split("-")
        place = parts.index("singletask")
        return TaskName(
            environment_id="-".join([*parts[: place - 1], *parts[place:]]),
            dataset="-".join([*parts[:place], parts[-1]]),
            base_id="-".join([*parts[: place - 1], parts[-1]]),
            kind=parts[place - 1],
        )
    module, _, identifier = name.rpartition(":")
    try:
        if module:  # as Gymnasium does: the module registers the environment
            _import(module)
        gymnasium.spec(identifier)
    except ImportError as error:
        if module in EXTRAS:
            raise UnknownTaskError(
                f"{name} needs the module {module}, which cannot be imported ({error}): pip install "
                f"'deflow[{EXTRAS[module]}]', or name the task 'none', which plays no episodes."
            ) from error
        raise UnknownTaskError(f"The module {module!r} of {name!r} cannot be imported: {error}.") from error
    except (gymnasium.error.Error, ValueError) as error:
        raise UnknownTaskError(_unknown(name)) from error
    return None


def is_visual(name: str) -> bool:
    """Whether this is an OGBench task whose observations are images."""
    return name.startswith("visual-") and name in task_names(pixels=True)


def _import(module: str) -> None:
    """Import what registers environments. What it prints then, it prints in the user's process and not in workers."""
    silent = contextlib.redirect_stderr(io.StringIO()) if multiprocessing.parent_process() else contextlib.nullcontext()
    with silent:
        importlib.import_module(module)


def _family(identifier: str) -> str:
    parts = identifier.split("-")
    return parts[1] if parts[0] == "visual" else parts[0]


def _unknown(name: str) -> str:
    beginning = re.sub(r"(-play|-navigate)?(-v\d+)?$", "", name)
    begun = [task for task in task_names() if len(beginning) > 3 and task.startswith(beginning)]
    others = [one for one, spec in gymnasium.registry.items() if not str(spec.entry_point).startswith("ogbench")]
    near = begun or difflib.get_close_matches(name, [*task_names(), *others], n=1, cutoff=0.6)
    guess = f"; did you mean {near[0]!r}?" if near else "."
    own = "" if begun else " If a file of yours registers it, import that first (on the command line: --import FILE)."
    return f"There is no task named {name!r}{guess}{own} All names: {command('collect', '--list')}"
