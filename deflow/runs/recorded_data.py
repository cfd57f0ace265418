"""Where a run's data lies today. What identifies data is its digest; the recorded path is only where it lay."""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..data import NO_ENVIRONMENT, Columns, RewardScale, Task, UserData, load_task
from ..data.provenance import digest
from ..environments import ActionBounds, Environment
from ..errors import DataError
from ..paths import absolute
from ..types import Spec
from .run import Run


def find_data(run: Run, *, given: str | os.PathLike[str] | None = None, data_dir: Path | None = None) -> Path:
    """The run's training file: the one that is `given`, else where it lay, below `data_dir`, where it lies if the
    project's folder moved as a whole, or beside the run.

    Raises:
        DataError: If there is no file with the recorded digest.
    """
    wanted, others = run.config["data"]["sha256"], []
    places = [absolute(given)] if given is not None else list(_places(run, data_dir))
    for path in dict.fromkeys(places):
        if path.exists():
            found = digest(path)
            if found == wanted:
                return path
            others.append(f"{path} has {found[:12]}")
    looked = "; ".join(others) or f"there is no file {places[0]}"
    raise DataError(
        f"{run.path} was trained on data with sha256 {wanted[:12]}, but {looked}: give the path of that file as the "
        "data, or its folder as the data directory; or start a new run."
    )


def recorded_task(
    run: Run,
    *,
    given: str | os.PathLike[str] | None = None,
    data_dir: Path | None = None,
    check: Callable[[Spec], None] | None = None,
) -> Task:
    """The task that the run was trained on, with its data from where it lies today. `check` is `load_task`'s.

    Raises:
        DataError: If its data is not found, or cannot be used.
    """
    config, recorded = run.config, run.config["data"]
    path = find_data(run, given=given, data_dir=data_dir)
    terminals = recorded.get("terminals") or config.get("options", {}).get("terminals")
    columns = Columns.restore(recorded.get("columns", {}))
    reader = recorded.get("reader", "npz")
    source = UserData(path, _validation(recorded, path), terminals=terminals, reader=reader, columns=columns)
    rewards = RewardScale(**config.get("rewards", {}))
    if config["environment"] is None:
        units = ActionBounds(**config["action_bounds"])
        task = load_task(NO_ENVIRONMENT, source, bounds=(units.low, units.high), rewards=rewards, check=check)
        task = dataclasses.replace(task, bounds=units)
    else:
        environment = Environment(**config["environment"])
        task = load_task(environment, source, rewards=rewards, check=check)
    return dataclasses.replace(task, provenance=dataclasses.replace(task.provenance, source=recorded["source"]))


def _validation(recorded: Mapping[str, Any], path: Path) -> Path | None:
    """The validation file, where it lay or beside the training file; None if it is gone."""
    if recorded.get("validation_path") is None:
        return None
    places = [Path(recorded["validation_path"]), path.with_name(Path(recorded["validation_path"]).name)]
    return next((p for p in places if p.exists() and digest(p) == recorded["validation_sha256"]), None)


def _places(run: Run, data_dir: Path | None) -> Iterator[Path]:
    data, options = run.config["data"], run.config.get("options", {})
    recorded = Path(data["path"])
    if data_dir is not None:
        below = {"official": Path("official"), "collected": Path("collected", recorded.parent.name)}
        yield data_dir / below.get(data["source"], Path()) / recorded.name
    yield recorded
    if "output_dir" in options and recorded.is_absolute() and len(run.path.parents) > 2:
        # As far from the output folder as it was, which has the folders of environment and algorithm in it.
        relative = os.path.relpath(recorded, options["output_dir"])
        yield Path(os.path.normpath(run.path.parents[2] / relative))
    for folder in (run.path, *run.path.parents[:4]):
        yield folder / recorded.name
