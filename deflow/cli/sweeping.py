"""The jobs of a sweep, as their recipe will read them; and which of them can share a behaviour."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from ..agent import AgentConfig, describe_agent
from ..data import NO_ENVIRONMENT, RECORDED_ENVIRONMENT, readers
from ..environments import parse_task_name
from ..errors import DeflowError, SweepError, UsageError
from ..launchers import Job
from ..paths import absolute
from .behaviours import behaviour_options
from .data_options import DataOptions, with_recorded_environment
from .parsing import Command, parse
from .spelling import spelled_options, spelled_part
from .values import types_of

Defaults = Callable[[list[str]], tuple[Any, AgentConfig, str]]
"""A recipe's options, agent and algorithm, which follow from its arguments."""

FLOW = ("encoder", "field", "solver")
"""The parts that a behaviour has."""

BEHAVIOUR = "behaviour,"
"""How the name of a job begins that learns a flow for others."""

_SHARED = {field.name for field in dataclasses.fields(DataOptions)} - {"env", "data_dir"} | {
    *("seeds", "batch_size", "field_steps", "field_learning_rate", "precision", "import_")
}
"""Options that jobs must have in common to share a behaviour, besides the data set and the flow's parts."""


def read_job(job: Job, defaults: Mapping[str, Defaults]) -> Command[Any]:
    """A job's options and agent, as its recipe will read them; the runs of other jobs are left out.

    Raises:
        SweepError: For what the recipe would refuse, with the job's name.
    """
    if job.recipe not in defaults:
        raise SweepError(f"{job.name}: a sweep runs {' or '.join(defaults)}, got {job.recipe}.")
    arguments = with_recorded_environment(without_needs(job))
    for flag in ("--output-dir", "--resume"):
        if any(word.partition("=")[0].replace("_", "-") == flag for word in arguments):
            raise SweepError(f"{job.name}: leave {flag} out, since a run's folder is the sweep's business.")
    try:
        options, agent, algorithm = defaults[job.recipe](arguments)
        if arguments[:1] == [algorithm]:
            arguments = arguments[1:]
        command = parse(options, agent, arguments, program=job.recipe, description="")
        if command.options.env not in (NO_ENVIRONMENT, RECORDED_ENVIRONMENT):
            parse_task_name(command.options.env)
    except (DeflowError, ValueError) as error:
        raise SweepError(f"{job.name}: {error}") from error
    return command


def with_absolute_paths(job: Job, options: type) -> Job:
    """The job with every path from the root on, so that it means the same in every folder."""
    hints, words, hint = types_of(options), list[str](), None
    for word in job.arguments:
        flag, equals, value = word.partition("=")
        if flag.startswith("--"):
            flag = flag.replace("_", "-")
            hint = flag if flag == "--data" or Path in (hints.get(flag), *get_args(hints.get(flag))) else None
            words.append(f"{flag}={_absolute(flag, value)}" if hint and equals else word)
        else:
            hint = None if ":" in word and hint != "--data" else hint
            words.append(_absolute(hint, word) if hint else word)
    return dataclasses.replace(job, arguments=tuple(words))


def _absolute(flag: str, value: str) -> str:
    if value.startswith("{") or value in ("official", "collected"):
        return value
    return readers.absolute(value) if flag == "--data" else str(absolute(value))


def without_needs(job: Job) -> list[str]:
    """The arguments without `{NAME}`, and without a flag that has no other value."""
    kept: list[str] = []
    for word in job.arguments:
        if word.startswith("{") and word.endswith("}"):
            if kept and kept[-1] == "--behaviour":
                kept.pop()
        else:
            kept.append(word)
    return kept


def share_behaviours(jobs: Sequence[Job], defaults: Mapping[str, Defaults], existing: Sequence[Job] = ()) -> list[Job]:
    """The jobs, where those of `offline` that would learn the same flow use that of a job of its own, which comes
    first: tasks that differ in rewards alone, algorithms, bounds, critics. It is an existing one, if there is such."""
    learned = {_of_data_set(job): job for job in existing if job.name.startswith(BEHAVIOUR)}
    groups: dict[str, list[Job]] = {}
    commands: dict[str, Command[Any]] = {}
    for job in jobs:
        command = commands[job.name] = read_job(job, defaults)
        if job.recipe == "offline" and command.options.proposals and not command.options.behaviour and not job.needs:
            groups.setdefault(_flow(command), []).append(job)
    first: list[Job] = []
    behaviour_of: dict[str, str] = {}
    for group in groups.values():
        job = _behaviour(commands[group[0].name], defaults["offline"])
        if job is None or (len(group) == 1 and _of_data_set(job) not in learned):
            continue
        if _of_data_set(job) in learned:
            job = learned[_of_data_set(job)]
        else:
            if job.name in {each.name for each in (*first, *existing)}:
                job = dataclasses.replace(job, name=f"{job.name}-{hashlib.sha256(str(job).encode()).hexdigest()[:8]}")
            first.append(job)
        behaviour_of |= {each.name: job.name for each in group}
    return [
        *first,
        *(
            dataclasses.replace(job, arguments=(*job.arguments, "--behaviour", f"{{{behaviour_of[job.name]}}}"))
            if job.name in behaviour_of
            else job
            for job in jobs
        ),
    ]


def _data_set(options: Any) -> str:
    """What the tasks of an environment have in common."""
    if options.data not in ("official", "collected"):
        return options.env
    task = parse_task_name(options.env)
    return options.env if task is None else task.dataset


def _of_data_set(job: Job) -> tuple[str, ...]:
    """A behaviour's arguments, with the data set in place of one of its tasks."""
    words = list(job.arguments)
    if "--env" in words:
        place = words.index("--env") + 1
        task = parse_task_name(words[place])
        words[place] = words[place] if task is None else task.dataset
    return tuple(words)


def _flow(command: Command[Any]) -> str:
    """What the flow of a job is learned from and made of."""
    described = describe_agent(command.agent)
    options = {name: str(getattr(command.options, name)) for name in sorted(_SHARED)}
    chunk = {"chunk": command.agent.chunk, "execute": command.agent.execute}
    return json.dumps([_data_set(command.options), options, chunk, {name: described[name] for name in FLOW}])


def _behaviour(command: Command[Any], defaults: Defaults) -> Job | None:
    """The job that learns a job's flow alone; None if no arguments say what it is."""
    options, agent = command.options, command.agent
    begin = ["flow-bc", "--env", options.env, "--budget", options.budget]
    wanted = dataclasses.replace(behaviour_options(options), output_dir=type(options)().output_dir)
    suggested = defaults(begin)[0]
    leave = frozenset({"env", "budget", "seeds", "output_dir", "resume", "behaviour"})
    words = [*begin, *spelled_options(wanted, suggested, leave=leave)]
    for name in ("chunk", "execute"):
        if (value := getattr(agent, name)) is not None:
            words += [f"--{name}", str(value)]
    words += [word for kind in FLOW for word in spelled_part(kind, getattr(agent, kind))]
    words += ["--seeds", *map(str, options.seeds)]
    seeds = "+".join(map(str, options.seeds))
    job = Job(f"{BEHAVIOUR}{_data_set(options)},seed{'s' * (len(options.seeds) > 1)}={seeds}", "offline", tuple(words))
    try:
        read = read_job(job, {"offline": defaults})
    except (SweepError, UsageError, SystemExit):
        return None
    same = all(getattr(read.agent, kind) == getattr(agent, kind) for kind in (*FLOW, "chunk", "execute"))
    return job if same and read.options == dataclasses.replace(wanted, output_dir=read.options.output_dir) else None
