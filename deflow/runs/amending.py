"""What a run is continued with, in its `config.json`: whoever continues it the next time goes on with that."""

import shlex
import sys
from collections.abc import Mapping
from typing import Any

from ..errors import RunError
from .atomic_files import read_json, write_json
from .run import Run


def amend(run: Run, options: Mapping[str, Any]) -> None:
    """Let these options of the run's recipe hold from now on, given as JSON values. What all options were when it was
    begun stays on record, under `begun_with`, and so do the commands that changed some, under `continued_by`.

    Raises:
        RunError: If `config.json` cannot be read or written.
    """
    path = run.path / "config.json"
    try:
        description = read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}): restore it from a copy.") from error
    now = description["config"].get("options", {})
    if any(name not in now or now[name] != value for name, value in options.items()):
        description.setdefault("begun_with", now)
        description.setdefault("continued_by", []).append(shlex.join(sys.orig_argv))
        description["config"]["options"] = {**now, **options}
        write_json(path, description)
    run.config.update(description["config"])  # in place: loggers have it, too
