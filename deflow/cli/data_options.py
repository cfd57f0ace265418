"""The options that say which task is learned, from which data."""

import dataclasses
from pathlib import Path
from typing import Any

from ..data import RewardScale, Source, named_source, readers
from ..data.endings import Terminals


@dataclasses.dataclass(frozen=True)
class DataOptions:
    """A recipe's options of task and data; its own come after them."""

    env: str = "cube-single-play-singletask-task2-v0"
    """Task: an OGBench single-task dataset name, or a Gymnasium id with your own data; none: there is data alone."""

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
    def action_bounds(self) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """The lowest and the highest action, if they were given."""
        return (self.action_low, self.action_high) if self.action_low else None
