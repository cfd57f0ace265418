"""Reading the files of runs. This needs none of the runs' own code, so reports can be made anywhere."""

import csv
import dataclasses
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import ReportError

Value = TypeVar("Value")


@dataclasses.dataclass(frozen=True)
class RunFiles:
    """A run, read from its files."""

    path: Path
    """The run's directory."""

    environment: str
    """Name of the environment or task."""

    algorithm: str
    """Name of the algorithm."""

    seed: int
    """The run's seed."""

    online_from: int | None
    """Step at which training went online: the gradient updates made offline. `None` for a run that is offline only."""

    train: dict[str, np.ndarray]
    """Columns of train.csv, each of shape (rows,), with NaN for blanks; empty without the file."""

    evaluation: dict[str, np.ndarray]
    """Columns of eval.csv, likewise."""

    config: dict[str, Any]
    """The configuration in config.json: the agent's parts, the data, the options."""

    commit: str
    """The commit at which it was made, with a `+` if files differed from it; empty if unknown."""

    begun_with: dict[str, Any] | None = None
    """The options that it was begun with, if it was continued with others."""

    continued_by: tuple[str, ...] = ()
    """The commands that continued it with others."""

    @property
    def behaviours(self) -> tuple[str, ...]:
        """The runs whose flows its training used, frozen; none if its own flow was trained."""
        return tuple((self.config.get("behaviour") or {}).get("runs", ()))

    @property
    def behaviour(self) -> str | None:
        """The run of these whose flow this seed used."""
        return self._mine(self.behaviours)

    @property
    def behaviour_steps(self) -> int | None:
        """How many updates that flow was trained for, if the run says so."""
        described = self.config.get("behaviour") or {}
        if described.get("own"):
            return (self.config.get("options") or {}).get("field_steps")
        return self._mine(described.get("steps", ()))

    def _mine(self, of_flows: Sequence[Value]) -> Value | None:
        """This seed's, of values for each flow: all seeds share one, or each has its own."""
        seeds = list((self.config.get("options") or {}).get("seeds", [self.seed]))
        own = seeds.index(self.seed) % len(of_flows) if of_flows and self.seed in seeds else 0
        return of_flows[own] if of_flows else None

    @property
    def steps(self) -> int:
        """The step of the last logged row: gradient updates made offline, then environment steps."""
        return int(
            max((table["step"].max() for table in (self.train, self.evaluation) if len(table["step"])), default=0)
        )


def read_run(path: str | os.PathLike[str]) -> RunFiles:
    """The run in a directory.

    Raises:
        ReportError: If its config.json or its CSV files cannot be read.
    """
    path = Path(path)
    try:
        config = json.loads((path / "config.json").read_text(encoding="utf-8"))
        names = str(config["environment"]), str(config["algorithm"]), int(config["seed"])
        made_with = dict(config.get("config", {}))
        online_from = made_with.get("online_from")
        online_from = None if online_from is None else int(online_from)
        continued = config.get("begun_with"), tuple(map(str, config.get("continued_by", ())))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ReportError(f"{path} is not a run (config.json: {error}); give a run's directory.") from error
    tables = _read_table(path / "train.csv"), _read_table(path / "eval.csv")
    commit = _read_commit(path / "environment.json")
    return RunFiles(path, *names, online_from, *tables, made_with, commit, *continued)


def shared_behaviours(runs: Iterable[RunFiles]) -> list[str]:
    """A sentence about each behaviour that several of these runs share, whose seeds are not independent of it."""
    users: dict[str, list[RunFiles]] = {}
    for run in runs:
        if run.behaviour is not None:
            users.setdefault(run.behaviour, []).append(run)
    return [
        f"{_listed(run.seed for run in found)} of {found[0].algorithm} on {found[0].environment} share the flow of "
        f"{behaviour}: their interval does not include how flows differ."
        for behaviour, found in users.items()
        if len(found) > 1
    ]


def _listed(seeds: Iterable[int]) -> str:
    *others, last = map(str, sorted(seeds))
    return f"Seeds {', '.join(others)} and {last}"


def _read_commit(path: Path) -> str:
    try:
        git = json.loads(path.read_text(encoding="utf-8"))["git"]
        return str(git["commit"]) + "+" * bool(git["dirty"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # made outside a checkout, or the file is gone: the numbers are none the worse


def _read_table(path: Path) -> dict[str, np.ndarray]:
    try:
        text = path.read_text(encoding="utf-8-sig") if path.exists() else "step\n"
        # What follows the last line's end is a row that is being written, or never was to the end.
        names, *lines = list(csv.reader(io.StringIO(text[: text.rfind("\n") + 1]))) or [["step"]]
        rows = [[float(cell or "nan") for cell in line] for line in lines]
        table = dict(zip(names, np.array(rows, float).reshape(len(rows), len(names)).T, strict=True))
        return table | {"step": table["step"].astype(int)}
    except (OSError, ValueError, KeyError) as error:
        raise ReportError(f"{path} cannot be read ({error}); remove or repair the damaged lines.") from error
