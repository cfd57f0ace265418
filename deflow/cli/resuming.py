"""Recording a recipe's options in its runs, and checking them when a run is continued."""

import dataclasses
import hashlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from ..agent import KINDS, AgentConfig, describe_agent, restore_agent
from ..commands import command
from ..data import Task
from ..errors import DataError, RunError
from ..paths import absolute
from ..runs import HostsGroup, Run, RunGroup, recorded_task, runs_together
from ..runs.loading import create_runs
from ..training import Learner
from ..types import Spec

Options = TypeVar("Options")

FORGOTTEN = ("join",)
"""Options that hold for one process, and not for whatever continues its run."""

PLACES = ("resume", "data", "data_dir", "output_dir", "import_")
"""Options that say where something lies: a run has on record where it lay when it was made."""


def continued_task(options: Any, *, check: Callable[[Spec], None]) -> Task | None:
    """The task of the run that `options.resume` continues, if its data lies somewhere; None if it must be made again.
    `check` is `load_task`'s.

    Raises:
        DataError: If a file of the user's own is not found, or is another.
    """
    run = Run.open(options.resume)
    recorded = run.config["options"].get("data")
    given = None if options.data in (recorded, "official", "collected") else options.data
    try:
        return recorded_task(run, given=given, data_dir=options.data_dir, check=check)
    except DataError:
        if run.config["data"]["source"] == "user" or given is not None:
            raise
        return None


def describe_options(options: Any) -> dict[str, Any]:
    """A dataclass of options as JSON data. Paths become absolute."""
    return {field.name: _plain(getattr(options, field.name)) for field in dataclasses.fields(options)}


def restore_options(kind: type[Options], described: Mapping[str, Any]) -> Options:
    """The inverse of `describe_options`. Options that did not exist when the run was made get their defaults."""
    hints = get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}  # pyright: ignore[reportArgumentType]
    return kind(**{name: _typed(value, hints[name]) for name, value in described.items() if name in names})


def recorded_options(run: Run, kind: type[Options], recipe: str) -> tuple[Options, AgentConfig]:
    """The options and the agent that a run was made with.

    Raises:
        RunError: If there is no run, or if another recipe made it.
    """
    made_by = run.config.get("recipe")
    if made_by is None:
        raise RunError(f"{run.path} was made by a Python program, not by a recipe: continue it with that program.")
    if made_by != recipe:
        raise RunError(f"{run.path} was made by {command(made_by)}: continue it with {command('resume', run.path)}")
    first = run.path.parent / Path(run.together[0]).name  # what it is continued with is written there first
    options = (Run.open(first) if first.is_dir() else run).config["options"]
    described = {name: value for name, value in options.items() if name not in FORGOTTEN}
    return restore_options(kind, described), restore_agent(run.config["agent"])


def open_runs(
    options: Any,
    config: AgentConfig,
    algorithm: str,
    task: Task,
    learner: Learner,
    *,
    recipe: str,
    **more: object,
) -> RunGroup | HostsGroup:
    """A new run directory for each of `options.seeds`, or those of `options.resume`. Options that are others than when
    it was made or last continued are recorded first: the next one to continue it goes on with them.

    Raises:
        ValueError: If the data is not what the runs were trained on.
        RunError: If a directory cannot be read or written.
    """
    if options.resume is not None:
        check_data(Run.open(options.resume), task)
        return runs_together(lambda: continued(options))
    return runs_together(
        lambda: create_runs(
            options.output_dir,
            task,
            config,
            learner,
            algorithm=algorithm,
            seeds=options.seeds,
            keep=options.keep,
            loggers=options.log,
            recipe=recipe,
            options=describe_options(options),
            evaluation={"episodes": options.episodes},
            imports=[
                {"path": str(absolute(path)), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
                for path in options.import_
            ],
            **more,
        )
    )


def continued(options: Any) -> RunGroup:
    """The runs that `options.resume` continues, with these options on record.

    Raises:
        RunError: If they cannot be read or written, or another process trains them.
    """
    group = RunGroup.open(options.resume, keep=options.keep, loggers=options.log)
    recorded = group.runs[0].config["options"]
    before = describe_options(restore_options(type(options), recorded))  # with the defaults of options added since
    group.amend(
        {
            name: value
            for name, value in describe_options(options).items()
            if name not in (*PLACES, *FORGOTTEN) and (name in recorded or value != before[name])
        }
    )
    return group


def check_data(run: Run, task: Task) -> None:
    """Compare the task's data with what the run was trained on.

    Raises:
        ValueError: If the digests differ.
    """
    recorded, given = run.config["data"], task.provenance.to_json()
    wanted, got = recorded["sha256"], given["sha256"]
    if wanted != got:
        flags = {"source": "--data", "rows": "--rows", "seed": "--data-seed"} if given["source"] != "user" else {}
        other = [f"{flag} {recorded[name]}" for name, flag in flags.items() if recorded.get(name) != given[name]]
        raise ValueError(
            f"{run.path} was trained on data with sha256 {wanted[:12]}, but {task.provenance.path} has {got[:12]}: "
            + (f"give {' '.join(other)}, as there." if other else "restore that file, or start a new run.")
        )


def check_unchanged(options: Any, config: AgentConfig, may_change: Collection[str]) -> None:
    """Compare the given options and parts with those of the run to be continued.

    Raises:
        ValueError: If an option or a part differs that must not.
    """
    if options.resume is None:
        return
    run = Run.open(options.resume)
    _check_length(options, run, may_change)
    check_same(options, config, run, may_change, what="the run to be continued", remedy="start a new run")


def _check_length(options: Any, run: Run, may_change: Collection[str]) -> None:
    for name, before in (("steps", 0), ("online_steps", options.steps)):
        if name not in may_change:
            continue
        made, asked = max(run.checkpoints.steps(), default=0) - before, getattr(options, name)
        flag = f"--{name.replace('_', '-')}"
        if asked < made and asked == run.config["options"].get(name):  # continued before that was recorded
            raise ValueError(
                f"{run.path} has made {made:,} steps, more than the {asked:,} that it was begun for, and how many it "
                f"is to make is not on record: give {flag}."
            )
        if asked < made:
            raise ValueError(f"{flag} {asked:,} is less than the {made:,} that {run.path} has made: give more.")


def check_same(
    options: Any, config: AgentConfig, run: Run, may_change: Collection[str], *, what: str, remedy: str
) -> None:
    """Compare the given options and parts with those of a run. `what` and `remedy` are words for the refusal.

    Raises:
        ValueError: If an option or a part differs that must not.
    """
    recorded = run.config["options"]
    for name, value in describe_options(options).items():
        if name not in (*may_change, *FORGOTTEN) and name in recorded and value != recorded[name]:
            flag = name.rstrip("_").replace("_", "-")
            raise ValueError(
                f"--{flag} is {_said(recorded[name])} in {what}, got {_said(value)}: leave it out, or {remedy}."
            )
    # Through this version's parts and back: a field that was added since has its default, not a difference.
    agent = describe_agent(restore_agent(run.config["agent"]))
    for kind, part in describe_agent(config).items():
        if part != agent[kind]:
            give = "leave its flags out"
            if kind in KINDS and part["name"] != agent[kind]["name"]:  # maybe only by default
                give = f"give {KINDS[kind].choice}:{agent[kind]['name']}"
            raise ValueError(f"The {kind.replace('_', ' ')} differs from that of {what}: {give}, or {remedy}.")


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(absolute(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return describe_options(value)
    return [_plain(entry) for entry in value] if isinstance(value, tuple) else value


def _typed(value: Any, hint: Any) -> Any:
    if isinstance(value, dict):
        return restore_options(hint, value)
    arguments = get_args(hint)
    if isinstance(value, list):
        return tuple(_typed(entry, arguments[0]) for entry in value)
    return Path(value) if isinstance(value, str) and (hint is Path or Path in arguments) else value


def _said(value: Any) -> str:
    return (" ".join(map(str, value)) or "not given") if isinstance(value, list) else str(value)
