"""The jobs of a sweep, as their recipe will read them; and which of them can share a behaviour."""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..agent import AgentConfig, describe_agent
from ..data import NO_ENVIRONMENT, RECORDED_ENVIRONMENT
from ..environments import parse_task_name
from ..errors import DeflowError, SweepError, UsageError
from ..launchers import Job
from .behaviours import behaviour_options
from .data_options import DataOptions, with_recorded_environment
from .parsing import Command, parse
from .spelling import spelled_options, spelled_part

Defaults = Callable[[list[str]], tuple[Any, AgentConfig, str]]
"""A recipe's options, agent and algorithm, which follow from its arguments."""

FLOW = ("encoder", "field", "solver")
"""The parts that a behaviour has."""

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
    arguments = with_recorded_environment(_without_needs(job))
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


def _without_needs(job: Job) -> list[str]:
    """The arguments without `{NAME}`, and without a flag that has no other value."""
    kept: list[str] = []
    for word in job.arguments:
        if word.startswith("{") and word.endswith("}"):
            if kept and kept[-1] == "--behaviour":
                kept.pop()
        else:
            kept.append(word)
    return kept


def share_behaviours(jobs: Sequence[Job], defaults: Mapping[str, Defaults]) -> list[Job]:
    """The jobs, where those of `offline` that would learn the same flow use that of a job of its own, which comes
    first: tasks that differ in rewards alone, algorithms, bounds, critics."""
    groups: dict[str, list[Job]] = {}
    commands: dict[str, Command[Any]] = {}
    for job in jobs:
        command = commands[job.name] = read_job(job, defaults)
        if job.recipe == "offline" and command.options.proposals and not command.options.behaviour and not job.needs:
            groups.setdefault(_flow(command), []).append(job)
    first: list[Job] = []
    behaviour_of: dict[str, str] = {}
    for group in groups.values():
        if len(group) > 1 and (job := _behaviour(commands[group[0].name], defaults["offline"])) is not None:
            if job.name in {each.name for each in first}:
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
    job = Job(f"behaviour,{_data_set(options)},seed{'s' * (len(options.seeds) > 1)}={seeds}", "offline", tuple(words))
    try:
        read = read_job(job, {"offline": defaults})
    except (SweepError, UsageError, SystemExit):
        return None
    same = all(getattr(read.agent, kind) == getattr(agent, kind) for kind in (*FLOW, "chunk", "execute"))
    return job if same and read.options == dataclasses.replace(wanted, output_dir=read.options.output_dir) else None
