"""What a collection consists of: its settings, its files, and what is done for each episode."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping

from ..environments import Environment, behaviour_of, episode_steps
from ..errors import CollectionError
from .collection_worker import collect_episode
from .drawing import draw_episode
from .folders import data_folder
from .provenance import versions
from .visual import IMAGE_BYTES, drawing_variables

PLAN_FILE, EPISODES_FOLDER = "plan.json", "episodes"


@dataclasses.dataclass(frozen=True)
class Collected:
    """A dataset collected on this machine."""

    rows: int = 1_000_000
    """Number of training transitions; rounded up to whole episodes."""

    seed: int = 0
    """Seed of all randomness in the collection."""

    validation_rows: int | None = None
    """Number of validation transitions (default: a hundredth of `rows`). Rounded up to whole episodes."""

    episode_steps: int | None = None
    """Transitions per episode (default: as in OGBench's dataset, 1000, or 2000 in the giant maze)."""

    def __post_init__(self) -> None:
        for name in ("rows", "validation_rows", "episode_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise CollectionError(f"{name.replace('_', '-')} must be at least 1, got {value}.")
        if self.seed < 0:
            raise CollectionError(f"seed must be 0 or more, got {self.seed}.")


@dataclasses.dataclass(frozen=True)
class Stage:
    """What is done for each episode, in a process of its own."""

    name: str
    unit: str
    work: Callable[..., int]
    """Leaves the episode's file, and returns how many units it did."""
    arguments: Callable[[str, int], tuple]
    """Split and index -> the arguments of `work`."""
    file: Callable[[str, int], pathlib.Path]
    """Split and index -> the file that it leaves."""
    rows: int
    """Units in an episode."""
    row_bytes: int
    """Bytes of a row at most."""
    variables: Mapping[str, str] | None = None
    """Environment variables of the processes."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to collect, and where to keep it."""

    task_name: str
    dataset: str
    folder: pathlib.Path
    seed: int
    steps: int
    """Transitions of an episode."""
    episodes: dict[str, int]
    """Number of episodes of each split."""

    @property
    def files(self) -> dict[str, pathlib.Path]:
        """The dataset's two files."""
        return {"train": self.folder / f"{self.dataset}.npz", "val": self.folder / f"{self.dataset}-val.npz"}

    def episode_file(self, split: str, index: int) -> pathlib.Path:
        """The file of a finished episode until the others are done."""
        return self.folder / EPISODES_FOLDER / f"{split}-{index:06d}.npz"

    def images_file(self, split: str, index: int) -> pathlib.Path:
        """The file of a finished episode's images, of a visual set."""
        return self.folder / EPISODES_FOLDER / f"{split}-{index:06d}-images.npz"

    @property
    def is_visual(self) -> bool:
        """Whether there are images."""
        return Environment(self.task_name).is_visual

    def stages(self) -> Iterator[Stage]:
        """What is done for each episode, one after the other.

        Raises:
            CollectionError: If images are to be drawn, and nothing draws here.
        """

        def playing(split: str, index: int) -> tuple[str, str, int, str, int, int]:
            return self.task_name, str(self.episode_file(split, index)), self.seed, split, index, self.steps

        def drawing(split: str, index: int) -> tuple[str, str, str]:
            return self.task_name, str(self.episode_file(split, index)), str(self.images_file(split, index))

        rows = self.steps + 1
        variables = drawing_variables(self.dataset) if self.is_visual else None
        yield Stage("collecting", "steps", collect_episode, playing, self.episode_file, self.steps, 1000)
        if self.is_visual:
            yield Stage("drawing", "images", draw_episode, drawing, self.images_file, rows, IMAGE_BYTES, variables)

    def fingerprint(self) -> dict:
        """The settings that must be the same to continue a collection."""
        return {"dataset": self.dataset, "seed": self.seed, "steps": self.steps, **versions()}


def collection_folder(dataset: str, settings: Collected, data_dir: str | os.PathLike[str] | None) -> pathlib.Path:
    """The folder of a collected dataset."""
    return data_folder(data_dir) / "collected" / f"{dataset}-{settings.rows}-seed{settings.seed}"


def make_plan(name: str, settings: Collected, data_dir: str | os.PathLike[str] | None) -> Plan:
    """The plan of a collection.

    Raises:
        DataError: If it cannot be collected. This is found before any work.
    """
    task = Environment(name).task
    if task is None:
        raise CollectionError(
            f"{name} is not an OGBench task, so it has no oracle to collect data with: use your own file."
        )
    behaviour_of(task)
    steps = settings.episode_steps or episode_steps(task)
    validation_rows = settings.validation_rows or -(-settings.rows // 100)
    return Plan(
        task_name=name,
        dataset=task.dataset,
        folder=collection_folder(task.dataset, settings, data_dir),
        seed=settings.seed,
        steps=steps,
        episodes={"train": -(-settings.rows // steps), "val": -(-validation_rows // steps)},
    )
