"""A run: a directory with its configuration, its logs and its checkpoints."""

import datetime
import operator
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np

from ..commands import command
from ..errors import RunError
from ..paths import absolute
from .atomic_files import read_json, writable_directory, write_json
from .checkpoints import Checkpoints
from .loggers import Csv, LoggedRun, check_loggers, registry
from .loggers.follower import Follower, end_all
from .logs import Row
from .machine import describe_machine
from .pytrees import PyTree

SCHEMA_VERSION = 1
"""Version of `config.json`, increased when older versions of deflow can no longer read it."""


class Run:
    """A run's directory; make one with `Run.create` or `Run.open`.

    <output_dir>/<environment>/<algorithm>/seed<k>-<YYYYmmdd-HHMMSS>/
        config.json         schema version, environment, algorithm, seed, the configuration that rebuilds the agent, and
                            what a recipe's options were at first if the run was continued with others
        environment.json    versions, device, commit, command line
        train.csv           metrics of training, one row per call of `log`
        eval.csv            metrics of evaluation
        loggers/            what other loggers have got of these, if there are any
        checkpoints/<step>/ state and notes, with a manifest
        best/<step>/        the same for the best evaluation, if training keeps it
        stopped.json        why and when this run stopped while the runs trained with it continued
    """

    def __init__(self, path: Path, description: Mapping[str, Any]):
        self.path = path
        """The directory, absolute."""
        self.environment: str = description["environment"]
        """Name of the environment or task."""
        self.algorithm: str = description["algorithm"]
        """Name of the algorithm."""
        self.seed: int = description["seed"]
        """The run's seed."""
        self.config: dict[str, Any] = description["config"]
        """The configuration given to `create`, as read back from JSON (tuples are lists)."""
        self.together: tuple[str, ...] = tuple(description.get("together", (path.name,)))
        """Names of the directories, including this one, whose runs are trained together."""
        self.checkpoints = Checkpoints(path / "checkpoints")
        """The run's checkpoints."""
        self.best = Checkpoints(path / "best")
        """The checkpoint with the best score, kept separately."""
        self._csv = Csv.of(path)
        self.followers: list[Follower] = []
        """What passes the rows to each other logger."""

    @classmethod
    def create(
        cls,
        output_dir: str | os.PathLike[str],
        *,
        environment: str,
        algorithm: str,
        seed: int,
        config: Mapping[str, Any],
        loggers: Sequence[str] = (),
    ) -> "Run":
        """Creates a new directory below `output_dir`, with `config.json` and `environment.json`. `loggers` are as in
        `follow`.

        Raises:
            RunError: If it cannot be made or written, or `config` is not JSON data.
        """
        check_loggers(loggers)  # before anything is made
        about = {"environment": environment, "algorithm": algorithm, "config": config}
        return create_together(output_dir, seeds=[seed], **about)[0].follow(loggers)

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, loggers: Sequence[str] = ()) -> "Run":
        """The run in a directory, with `loggers` as in `follow`.

        Raises:
            RunError: If there is none, or this version of deflow cannot read it.
        """
        path = absolute(path)
        try:
            description = read_json(path / "config.json")
        except OSError as error:
            reason = "there is no such directory" if not path.is_dir() else f"config.json: {error.strerror or error}"
            raise RunError(
                f"{path} is not a run ({reason}); give a directory such as runs/ENV/ALGORITHM/seed0-TIME."
            ) from error
        except ValueError as error:
            raise RunError(
                f"{path / 'config.json'} is damaged ({error}); restore it from a copy or train again."
            ) from error
        version = description.get("schema_version")
        if not isinstance(version, int) or version < 1:
            raise RunError(f"{path / 'config.json'} has no schema version; it was not written by deflow's Run.create.")
        if version > SCHEMA_VERSION:
            raise RunError(
                f"{path / 'config.json'} has schema version {version}, but this deflow reads up to {SCHEMA_VERSION}; "
                "upgrade deflow."
            )
        missing = [name for name in ("environment", "algorithm", "seed", "config") if name not in description]
        if missing:
            raise RunError(f"{path / 'config.json'} lacks {', '.join(missing)}; restore it from a copy or train again.")
        if not isinstance(description["config"], dict):
            raise RunError(f"{path / 'config.json'} is damaged (its config is no table); restore it from a copy.")
        together = description.get("together", [path.name])
        if not (isinstance(together, list) and together and all(isinstance(name, str) for name in together)):
            raise RunError(f"{path / 'config.json'} is damaged (together is no list of names); restore it from a copy.")
        return cls(path, description).follow(loggers)

    def follow(self, loggers: Sequence[str]) -> Self:
        """Pass all rows to these loggers, too (`tensorboard`, `wandb`, or one of your own), until `close`. They get
        what is in the CSV files already, and exactly what is there in the end. A logger that fails stops nothing.

        Raises:
            UnknownNameError: For a name that is not registered.
            RunError: If a logger's package is missing.
        """
        about = LoggedRun(self.path, self.environment, self.algorithm, self.seed, self.config)
        names = [name for name in check_loggers(loggers) if not issubclass(registry[name], Csv)]  # which is on
        self.followers = [Follower(name, registry[name](), about, self._csv.rows) for name in names]
        return self

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Add `evaluation/...` and `estimate/...` to eval.csv and everything else to train.csv, as one row each. It is
        written when this returns.

        Raises:
            RunError: If a metric is not a single number, or the file cannot be written.
        """
        self._csv.row(checked_step(step), metrics)
        if self.followers:
            rows = Row.of(checked_step(step), metrics)
            for follower in self.followers:
                follower.follow(rows)

    def read(self, split: Literal["train", "eval"]) -> dict[str, np.ndarray]:
        """Columns of train.csv or eval.csv by name, each of shape (rows,); blanks are NaN.

        Raises:
            RunError: If the file cannot be read or a cell is not a number.
        """
        return self._csv.files[split].read()

    def rewind(self, step: int, split: Literal["train", "eval"] | None = None) -> None:
        """Remove what was logged after `step`, in one file or both, before training continues.

        Raises:
            RunError: If a file cannot be read or written.
        """
        for name, log in self._csv.files.items():
            if split in (None, name):
                log.drop_after(step)
        for follower in self.followers:
            follower.rewind()

    def picture(self, path: str | os.PathLike[str], step: int) -> None:
        """Show a PNG file in the loggers that show pictures, under its name."""
        for follower in self.followers:
            follower.show("picture", Path(path).stem, Path(path), checked_step(step))

    def video(self, path: str | os.PathLike[str], step: int) -> None:
        """Show an MP4 file in the loggers that show videos, under its name."""
        for follower in self.followers:
            follower.show("video", Path(path).stem, Path(path), checked_step(step))

    def close(self) -> None:
        """Pass on to the loggers what is left, and close them. Without this, it is done when Python ends."""
        end_all(self.followers)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def save(self, step: int, state: PyTree, notes: Mapping[str, Any] | None = None) -> Path:
        """Save a checkpoint: see `Checkpoints.save`.

        Raises:
            CheckpointError: If that fails.
        """
        return self.checkpoints.save(checked_step(step), state, notes or {})

    def restore(self, like: PyTree, step: int | None = None, *, part: str = "") -> tuple[PyTree, dict[str, Any], int]:
        """State, notes and step of an intact checkpoint: see `Checkpoints.restore`.

        Raises:
            CheckpointError: If no checkpoint is intact, or it is of another state.
        """
        return self.checkpoints.restore(like, step, part=part)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"


def checked_step(step: Any) -> int:
    """A step as a Python number.

    Raises:
        RunError: If it is no whole number from 0 up.
    """
    if isinstance(step, bool) or not hasattr(type(step), "__index__") or (number := operator.index(step)) < 0:
        got = repr(step) if isinstance(step, int | float | str) else type(step).__name__
        raise RunError(f"A step must be a whole number from 0 up, got {got}.")
    return number


def resume_command(run: Run, *flags: str) -> str:
    """The shell command that continues a run of a recipe, with the files that it needs."""
    imports = run.config.get("options", {}).get("import_", ())
    return command("resume", run.path, *(["--import", *imports] if imports else []), *flags)


def create_together(
    output_dir: str | os.PathLike[str],
    *,
    environment: str,
    algorithm: str,
    seeds: Sequence[int],
    config: Mapping[str, Any],
) -> list[Run]:
    """Like `Run.create`, with one run per seed. Their directories have the same ending, and each records all names."""
    for what, name in (("environment", environment), ("algorithm", algorithm)):
        if not re.search(r"\w", name):
            raise RunError(f"The {what} {name!r} cannot name a directory: give it a letter or a digit.")
    if not seeds or len(set(seeds)) < len(seeds):
        raise RunError(f"Runs need different seeds, got {list(seeds)}; give each once.")
    parent = writable_directory(Path(output_dir) / folder_name(environment) / folder_name(algorithm))
    now = f"{datetime.datetime.now():%Y%m%d-%H%M%S}"
    paths = _new_directories(parent, [f"seed{int(seed)}-{now}" for seed in seeds])
    machine = describe_machine()
    for path in paths:
        write_json(path / "environment.json", machine)
    for path, seed in zip(paths, seeds, strict=True):
        description = {
            "schema_version": SCHEMA_VERSION,
            "environment": environment,
            "algorithm": algorithm,
            "seed": int(seed),
            "together": [other.name for other in paths],
            "config": dict(config),
        }
        write_json(path / "config.json", description)  # last: it is what makes the directory a run
    return [Run.open(path) for path in paths]


def folder_name(name: str) -> str:
    """A name as a folder: `lab/Name-v0` is in `lab_Name-v0`. The run's config.json has the name itself."""
    return re.sub(r"[^\w.+-]", "_", name).lstrip(".")


def _new_directories(parent: Path, names: Sequence[str]) -> list[Path]:
    """New directories: `names`, or all of them with -2, -3, ... if one already exists."""
    number = 1
    while True:
        paths = [parent / (name if number == 1 else f"{name}-{number}") for name in names]
        made: list[Path] = []
        try:
            for path in sorted(paths):  # in one order, so that of two processes one gets all
                path.mkdir()
                made.append(path)
            return paths
        except OSError as error:
            for path in made:
                path.rmdir()
            if not isinstance(error, FileExistsError):
                raise RunError(
                    f"Cannot make {paths[0]}: {error.strerror or error}; choose another directory."
                ) from error
            number += 1
