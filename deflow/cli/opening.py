"""Opening a run whose parts or environment come from files of the user's own."""

from collections.abc import Sequence
from pathlib import Path

from ..agent import restore_agent
from ..environments.task_names import parse_task_name
from ..errors import RunError, SerializationError, UnknownTaskError
from ..runs import Run
from .program import import_files


def open_run(path: Path, imports: Sequence[str | Path]) -> Run:
    """The run in a directory, after these files were imported.

    Raises:
        RunError: If there is none, or it was made with files that it needs and that were not imported.
        UsageError: If a file cannot be imported.
    """
    import_files(imports)
    run = Run.open(path)
    check_imports(run)
    return run


def check_imports(run: Run) -> None:
    """Raises a RunError if the run needs files of the user's own that were not imported."""
    files = run.config.get("options", {}).get("import_", ())
    if not files:
        return
    try:
        restore_agent(run.config["agent"])
        if run.config.get("environment") is not None:
            parse_task_name(run.config["environment"]["name"])
    except (SerializationError, UnknownTaskError) as error:
        given = " ".join(map(str, files))
        raise RunError(f"{run.path} was made with --import {given}: give it again. ({error})") from error
