"""Weights & Biases, offline unless the user chose otherwise."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from ...errors import RunError, first_line
from ..atomic_files import read_json, write_json
from .base import AbstractLogger, LoggedRun, register

STATE = Path("loggers", "wandb.json")
"""Where the run's name at Weights & Biases is kept, in its directory."""


@register("wandb")
class Wandb(AbstractLogger):
    """A run of Weights & Biases, whose files are in the run's directory: `wandb sync RUN/wandb/offline-run-*`.

    A row of the CSV files is a row there, and the charts' axis is `step`. What it has got it cannot take back; a
    training that goes back and makes other rows has a new run there, with all rows from the first.
    """

    package: ClassVar[str | None] = "wandb"
    extra: ClassVar[str | None] = "wandb"

    def check(self) -> None:
        super().check()
        if mode() == "online":
            import wandb

            try:
                wandb.login()
            except Exception as error:
                raise RunError(
                    f"WANDB_MODE is online, but Weights & Biases refuses ({first_line(error).rstrip('.')}): log in "
                    "with `wandb login`, or unset WANDB_MODE."
                ) from error

    def holds(self, run: LoggedRun) -> bool:
        """Its own files may be gone: `wandb sync --clean` removes what has arrived."""
        try:
            return "id" in read_json(run.path / STATE)
        except (OSError, ValueError):
            return False

    def open(self, run: LoggedRun, after: int) -> None:
        import wandb

        # It writes in a process of its own, now and then, and loses what it has not written if this one is killed.
        settings: Any = wandb.Settings(silent=True, console="off")
        self.settles = 20.0
        if hasattr(settings, "x_transaction_log_flush_interval"):
            settings.x_transaction_log_flush_interval, self.settles = 2.0, 5.0
        self._state, self._media = run.path / STATE, wandb
        goes_on = after >= 0 and self.holds(run)
        self._known = read_json(self._state) if goes_on else {"id": secrets.token_hex(4), "rows": 0}
        write_json(self._state, self._known)
        self._run = wandb.init(
            id=self._known["id"],
            resume="allow",
            reinit="create_new",  # seeds that are trained together have a run each
            mode=mode(),
            dir=run.path,
            project=os.environ.get("WANDB_PROJECT", "deflow"),
            group=os.environ.get("WANDB_RUN_GROUP", f"{run.environment} {run.algorithm}"),
            name=f"{run.algorithm} {run.path.name}",
            config=run.flat_config(),
            settings=settings,
        )
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")

    def row(self, step: int, metrics: Mapping[str, float]) -> None:
        self._log({"step": step, **metrics})

    def picture(self, name: str, path: Path, step: int) -> None:
        self._log({"step": step, name: self._media.Image(str(path))})

    def video(self, name: str, path: Path, step: int) -> None:
        self._log({"step": step, name: self._media.Video(str(path), format="mp4")})

    def flush(self) -> None:
        write_json(self._state, self._known)

    def close(self) -> None:
        self.flush()
        self._run.finish()

    def _log(self, row: dict[str, Any]) -> None:
        self._run.log(row, step=self._known["rows"], commit=True)  # their number goes on in the next process
        self._known["rows"] += 1


def mode() -> Any:
    """What WANDB_MODE says, or offline."""
    return os.environ.get("WANDB_MODE", "offline")
