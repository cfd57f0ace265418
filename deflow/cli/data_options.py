"""The options that say which task is learned, from which data."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..data import NO_ENVIRONMENT, RECORDED_ENVIRONMENT, RewardScale, Source, dataset_name, named_source, readers
from ..data.endings import Terminals
from ..errors import DataError
from .arguments import peek


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """A recipe's options of task and data; its own come after them."""

    env: str = "cube-single-play-singletask-task2-v0"
    """Task: an OGBench single-task dataset name, or a Gymnasium id with your own data; none: there is data alone;
    recorded: the environment that your data names (the default where it does)."""

    data: str = "official"
    """official (OGBench's files, downloaded if needed), collected (by OGBench's oracles), or the path or address of
    your own."""

    reader: str | None = None
    """What reads your own data, if its content does not say."""

    columns: readers.Columns = readers.AS_NAMED
    """Which columns of your own data are what."""

    terminals: Terminals | None = None
    """What a lone `terminals` column in your own file marks: trajectory-end or termination."""

    reward_scale: float = 1.0
    """Factor of every reward, when learning."""

    reward_shift: float = 0.0
    """What is added to every reward afterwards."""

    action_low: tuple[float, ...] = ()
    """Lowest action, with --env none: one number, or one for each coordinate (default: the data's lowest)."""

    action_high: tuple[float, ...] = ()
    """Highest action."""

    frame_stack: int | None = None
    """Images of the last steps that an observation is made of (default: 3 for OGBench's visual tasks, else 1)."""

    rows: int = 1_000_000
    """Transitions to collect, with `--data collected`."""

    data_seed: int = 0
    """Seed of the collection."""

    data_dir: Path | None = None
    """Data directory (default: ~/.deflow/data)."""

    def __post_init__(self):
        if self.rows < 1:
            raise ValueError(f"--rows must be at least 1, got {self.rows}.")
        if bool(self.action_low) != bool(self.action_high):
            raise ValueError("--action-low and --action-high belong together: give both, or neither.")
        if self.frame_stack is not None and self.frame_stack < 1:
            raise ValueError(f"--frame-stack must be at least 1, got {self.frame_stack}.")
        _ = self.rewards  # it checks
        if self.data not in ("official", "collected") and getattr(self, "resume", None) is None:
            object.__setattr__(self, "data", readers.absolute(self.data))  # it is recorded

    @property
    def source(self) -> Source:
        """The data's source."""
        own: dict[str, Any] = {"terminals": self.terminals, "reader": self.reader, "columns": self.columns}
        return named_source(self.data, rows=self.rows, seed=self.data_seed, **own)

    @property
    def rewards(self) -> RewardScale:
        """What is done to the rewards."""
        return RewardScale(self.reward_scale, self.reward_shift)

    @property
    def loading(self) -> dict[str, Any]:
        """What `load_task` is told besides the task and the source."""
        given = {"data_dir": self.data_dir, "rewards": self.rewards, "frame_stack": self.frame_stack}
        return {**given, "bounds": self.action_bounds}

    @property
    def action_bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """The lowest and the highest action, if they were given."""
        return (self.action_low, self.action_high) if self.action_low else None


def with_recorded_environment(arguments: Sequence[str]) -> list[str]:
    """The arguments, with `--env recorded` where the format of the data names environments and none is given."""
    data, reader = peek(arguments, "--data"), peek(arguments, "--reader")
    if not data or any(peek(arguments, flag) for flag in ("--env", "--resume", "--from")):
        return [*arguments]
    if not _names_environments(data[-1], reader[-1] if reader else None):
        return [*arguments]
    return [*arguments, "--env", RECORDED_ENVIRONMENT]


def _names_environments(data: str, reader: str | None) -> bool:
    prefix, colon, _ = data.partition(":")
    if data in ("official", "collected"):
        return False
    try:
        name = prefix if colon and prefix in readers.registry else reader or readers.reader_of(data)[0]
    except DataError:  # which loading it says
        return False
    return name in readers.registry and readers.registry[name].names_environments


def settings_name(options: Any, arguments: Sequence[str] = ()) -> str:
    """The name whose settings apply: that of the environment; of the data set where it names the environment, or there
    is none. What is in the arguments counts more than the options."""
    env, data, reader = (
        (peek(arguments, f"--{name}") or [getattr(options, name, None)])[-1] for name in ("env", "data", "reader")
    )
    if env not in (NO_ENVIRONMENT, RECORDED_ENVIRONMENT) or data in (None, "official", "collected"):
        return env or ""
    return dataset_name(data, reader) or env
