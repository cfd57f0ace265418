"""The jobs of a sweep, as their recipe will read them; and which of them can share a behaviour."""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from ..agent import KINDS, AgentConfig, restore_agent
from ..data import NO_ENVIRONMENT, RECORDED_ENVIRONMENT, readers
from ..environments import parse_task_name
from ..errors import DeflowError, SweepError
from ..launchers import Job
from ..launchers.grid import job_name
from ..paths import absolute
from ..runs import Run
from .arguments import peek
from .behaviours import behaviour_options
from .data_options import with_recorded_environment
from .parsing import Command, parse
from .spelling import spelled_options, spelled_part
from .staged import FLOW, check_decoupled, check_flow, check_learned, check_served, structure
from .values import ends_values, types_of

Defaults = Callable[[list[str]], tuple[Any, AgentConfig, str]]
"""A recipe's options, agent and algorithm, which follow from its arguments."""


class Recipe(NamedTuple):
    """A recipe that a sweep can run."""

    options: type
    """The class of its options."""

    defaults: Defaults
    """How it reads its arguments."""


BEHAVIOUR = "behaviour,"
"""How the name of a job begins that learns a flow for others."""

NOT_SPELLED = frozenset({"env", "budget", "seeds", "output_dir", "resume", "behaviour"})
"""Options that a behaviour's arguments begin or end with, or do not have."""


def read_job(job: Job, recipes: Mapping[str, Recipe], behaviour: AgentConfig | None = None) -> Command[Any]:
    """A job's options and agent, as its recipe will read them; the runs of other jobs are left out, but for the parts
    of the agent whose flow is its `behaviour`.

    Raises:
        SweepError: For what the recipe would refuse, with the job's name.
    """
    if job.recipe not in recipes:
        raise SweepError(f"{job.name}: a sweep runs {' or '.join(recipes)}, got {job.recipe}.")
    arguments = with_recorded_environment(without_needs(job))
    for flag in ("--output-dir", "--resume"):
        if any(word.partition("=")[0].replace("_", "-") == flag for word in arguments):
            raise SweepError(f"{job.name}: leave {flag} out, since a run's folder is the sweep's business.")
    try:
        options, agent, algorithm = recipes[job.recipe].defaults(arguments)
        if behaviour is not None:
            agent = dataclasses.replace(agent, **{name: getattr(behaviour, name) for name in FLOW})
        if arguments[:1] == [algorithm]:
            arguments = arguments[1:]
        command = parse(options, agent, arguments, program=job.recipe, description="")
        if command.options.env not in (NO_ENVIRONMENT, RECORDED_ENVIRONMENT):
            parse_task_name(command.options.env)
    except (DeflowError, ValueError) as error:
        raise SweepError(f"{job.name}: {error}") from error
    return command


def read_jobs(
    jobs: Sequence[Job], recipes: Mapping[str, Recipe], existing: Sequence[Job] = ()
) -> dict[str, Command[Any]]:
    """The options and agents of jobs, which may use the runs of existing ones.

    Raises:
        SweepError: For what a recipe would refuse, be it when its turn comes, after others have learned its flow; with
            the job's name.
    """
    needed, commands = {need for job in jobs for need in job.needs}, dict[str, Command[Any]]()
    for job in (*existing, *jobs):
        if job in jobs or job.name in needed:
            flows = {name: commands[name] for name in _given(job) if name in commands}  # which come first
            first = next(iter(flows.values()), None)
            commands[job.name] = read_job(job, recipes, first and first.agent)
            try:
                _check(commands[job.name], flows)
            except (DeflowError, ValueError) as error:
                raise SweepError(f"{job.name}: {error}") from error
    return commands


def _check(command: Command[Any], flows: Mapping[str, Command[Any]]) -> None:
    """Refuse what does not fit the flows of a job: of other jobs, by name, and of runs."""
    options, agent = command.options, command.agent
    for name, flow in flows.items():
        if (learned := _data_of(flow.options)) != (own := _data_of(options)):
            raise ValueError(f"The flow of {name} is learned from {learned}, and this run's data is {own}.")
    behaviours = {name: flow.agent for name, flow in flows.items()}
    for run in map(Run.open, options.behaviour):
        behaviours[str(run.path)] = restore_agent(run.config["agent"])
        check_learned(run)
    for name, behaviour in behaviours.items():
        check_flow(name, behaviour, agent)
    runs = [Path(name) for name, flow in flows.items() for _ in flow.options.seeds]
    try:
        outline, others = structure(agent), {name: structure(behaviour) for name, behaviour in behaviours.items()}
    except Exception:  # a part that needs the task's sizes, which are not known yet
        return
    for name, other in others.items():
        check_decoupled(name, other)
    check_served(dataclasses.replace(options, behaviour=(*options.behaviour, *runs)), outline)


def _data_of(options: Any) -> str:
    """The data that options ask for, in words."""
    if options.data == "collected":
        return f"{_data_set(options.env, options.data)}, {options.rows:,} rows collected with seed {options.data_seed}"
    return f"{_data_set(options.env, options.data)}, official" if options.data == "official" else options.data


def with_absolute_paths(job: Job, recipes: Mapping[str, Recipe]) -> Job:
    """The job with every path from the root on, so that it means the same in every folder."""
    hints, words, hint = types_of(recipes[job.recipe].options) if job.recipe in recipes else {}, list[str](), None
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
    words, kept = list(job.arguments), list[str]()
    for word, following in zip(words, [*words, "--"][1:], strict=True):
        if not (word.startswith("{") and word.endswith("}")):
            kept.append(word)
        elif kept and kept[-1] == "--behaviour" and ends_values(following):
            kept.pop()
    return kept


def share_behaviours(
    jobs: Sequence[Job],
    commands: Mapping[str, Command[Any]],
    recipes: Mapping[str, Recipe],
    existing: Sequence[Job] = (),
) -> list[Job]:
    """The jobs, as `read_jobs` has read them, where those of `offline` that would learn the same flow use that of a job
    of its own, which comes first: tasks that differ in rewards alone, algorithms, bounds, critics. It is an existing
    one, if there is such."""
    learned = {_flow(job): job for job in existing if job.name.startswith(BEHAVIOUR)}
    groups: dict[tuple[str, ...], list[tuple[Job, Job, Command[Any]]]] = {}
    for job in jobs:
        command = commands[job.name]
        if job.recipe == "offline" and command.options.proposals and not command.options.behaviour and not job.needs:
            alone = _behaviour(command, recipes["offline"].defaults)
            groups.setdefault(_flow(alone), []).append((job, alone, command))
    first: list[Job] = []
    behaviour_of: dict[str, str] = {}
    for flow, group in groups.items():
        _, alone, command = group[0]
        if flow not in learned and (len(group) == 1 or not _learns(alone, command, recipes)):
            continue
        if flow in learned:
            alone = learned[flow]
        else:
            if alone.name in {each.name for each in (*first, *existing)}:
                digest = hashlib.sha256(str(alone).encode()).hexdigest()[:8]
                alone = dataclasses.replace(alone, name=f"{alone.name}-{digest}")
            first.append(alone)
        behaviour_of |= {job.name: alone.name for job, _, _ in group}
    return [
        *first,
        *(
            dataclasses.replace(job, arguments=(*job.arguments, "--behaviour", f"{{{behaviour_of[job.name]}}}"))
            if job.name in behaviour_of
            else job
            for job in jobs
        ),
    ]


def _data_set(env: str, data: str) -> str:
    """What the tasks of an environment have in common."""
    task = parse_task_name(env) if data in ("official", "collected") else None
    return env if task is None else task.dataset


def _flow(behaviour: Job) -> tuple[str, ...]:
    """What a behaviour is learned from and made of: its arguments, with the data set in place of one of its tasks."""
    words = list(behaviour.arguments)
    place = words.index("--env") + 1
    words[place] = _data_set(words[place], (peek(words, "--data") or ["official"])[-1])
    return tuple(words)


def _behaviour(command: Command[Any], defaults: Defaults) -> Job:
    """The job that learns a job's flow alone."""
    options, agent = command.options, command.agent
    begin = ["flow-bc", "--env", options.env, "--budget", options.budget]
    parts = [word for kind in FLOW for word in spelled_part(KINDS[kind], getattr(agent, kind))]
    suggested, _, _ = defaults([*begin, *parts])  # which depend on the encoder
    words = [*begin, *spelled_options(behaviour_options(options), suggested, leave=NOT_SPELLED)]
    for name in ("chunk", "execute"):
        if (value := getattr(agent, name)) is not None:
            words += [f"--{name}", str(value)]
    words += parts
    words += ["--seeds", *map(str, options.seeds)]
    seeds = f"seed{'s' * (len(options.seeds) > 1)}={'+'.join(map(str, options.seeds))}"
    chunk = f",chunk={agent.chunk}" if agent.chunk > 1 else ""
    name = job_name(f"{BEHAVIOUR}{_data_set(options.env, options.data)}{chunk},{seeds}")
    return Job(name, "offline", tuple(words))


def _given(job: Job) -> list[str]:
    """The jobs whose flows a job uses."""
    words = list(job.arguments)
    after = words[words.index("--behaviour") + 1 :] if "--behaviour" in words else []
    return [word[1:-1] for word in itertools.takewhile(lambda word: word.startswith("{"), after)]


def _learns(behaviour: Job, command: Command[Any], recipes: Mapping[str, Recipe]) -> bool:
    """Whether a behaviour, as its recipe will read it, learns a job's flow."""
    try:
        read = read_job(behaviour, recipes)
    except (SweepError, SystemExit):  # a part that no arguments make
        return False
    wanted = dataclasses.replace(behaviour_options(command.options), output_dir=read.options.output_dir)
    same = all(getattr(read.agent, name) == getattr(command.agent, name) for name in (*FLOW, "chunk", "execute"))
    return same and read.options == wanted
