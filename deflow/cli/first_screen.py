"""The first screen of a training: what is about to happen, on which data, and where the results go."""

import shlex
from typing import Any

from ..agent import KINDS, Agent, AgentConfig, TaskSettings, task_settings
from ..behaviour import States
from ..commands import command
from ..data import Task
from ..data.rewards import UNCHANGED
from ..environments import Environment
from ..estimation.estimate import MEMBERS
from ..runs import HostsGroup, RunGroup
from ..runs.loggers.wandb import mode as wandb_mode
from ..training import Learner
from ..types import Spec
from .behaviours import Behaviours, behaviour_facts
from .data_options import settings_name
from .device_options import dataset_facts, devices_in_words
from .screen import counted, parts_in_words

BOUNDS = {"given": "as given", "source": "as the data says", "data": "the range of the data's actions"}
"""Where action bounds come from, in words."""


def first_screen(
    options: Any,
    task: Task,
    learner: Learner,
    config: AgentConfig,
    algorithm: str,
    group: RunGroup | HostsGroup,
    bound: str | None,
    behaviours: Behaviours | None,
) -> dict[str, str]:
    """What is about to happen, on which data, and where the results go. `bound` is how `auto` was resolved."""
    data, spec = task.provenance, task.spec
    settings = task_settings(settings_name(options))
    family = settings.borrowed_from
    limited = task.environment is None or task.environment.limited
    limit = "" if limited else " (cut off there: the environment has no time limit)"
    states = len(States.of(task.train)) if behaviours and options.proposals else 0
    tables = len(behaviours.runs) if behaviours else 0
    borrowed = f" (settings, the bound too, borrowed from {family}: none are published)" if family else ""
    return {
        "task": f"{task.name}{borrowed}",
        **environment_facts(task.environment),
        "sizes": f"{observation(spec)}, action {spec.action_size}, episodes up to {spec.horizon} steps{limit}",
        "data": f"{len(task.train):,} transitions in {counted(task.trajectories, 'trajectory', 'trajectories')}; "
        f"{task.endings}",
        "from": f"{data.source}: {data.path} (sha256 {data.sha256[:12]})",
        **({"read as": "\n".join((data.reader, *data.assumed))} if data.assumed else {}),
        **({"actions": f"in {task.bounds}, {BOUNDS[task.bounds.origin]}"} if task.environment is None else {}),
        **({"rewards": f"{task.rewards}"} if task.rewards != UNCHANGED else {}),
        "agent": f"{algorithm}, {learner.parameters:,} parameters, {options.precision}",
        **({"chunks": chunks(learner.agent, task)} if config.chunk > 1 else {}),
        "parts": parts_in_words(config, **encoder_note(config, settings)),
        **({"trust region": bound} if bound else {}),
        "device": devices_in_words(options),
        **dataset_facts(options, learner.agent, task, states=states, tables=tables),
        **(behaviour_facts(options, config, task, behaviours, states=states) if behaviours else {}),
        "training": f"{options.steps:,} updates of {options.batch_size} transitions, "
        f"seed{'s' * (len(group.runs) > 1)} {' '.join(str(run.seed) for run in group.runs)}",
        "evaluation": evaluation(options, task),
        "checkpoints": f"every {options.save_every:,} updates, the last {options.keep}"
        + (", the best" if task.environment is not None or options.estimate_steps else ""),
        "files": "\n".join(str(run.path) for run in group.runs),
        "watch": watch(options, group),
    }


def observation(spec: Spec) -> str:
    """What is observed at a step."""
    if len(spec.observation_shape) != 3:
        return f"observation {spec.observation_size}"
    images = f"{spec.frame_stack} images" if spec.frame_stack > 1 else "an image"
    return f"observation {images} of {' x '.join(map(str, spec.frame_shape))}"


def watch(options: Any, group: RunGroup | HostsGroup) -> str:
    """The commands that show the training from another terminal."""
    path = group.runs[0].path
    found = [command("watch", path)]
    if "tensorboard" in options.log:
        found.append(shlex.join(["tensorboard", "--logdir", str(path.parents[2])]))
    if "wandb" in options.log and wandb_mode() == "offline":
        found.append(f"wandb sync {shlex.quote(str(path / 'wandb'))}/offline-run-*, since wandb is offline")
    return "\n".join(found)


def evaluation(options: Any, task: Task) -> str:
    """How and when the policy is judged, in words."""
    when = f"every {options.eval_every:,} updates"
    if task.environment is not None:
        return f"{counted(options.episodes, 'episode')} {when}"
    if not options.estimate_steps:
        return "none, since there is no environment"
    how = f"fitted Q evaluation, {MEMBERS} critics of {options.estimate_steps:,} updates"
    return f"estimated from the data {when}, since there is no environment ({how})"


def environment_facts(environment: Environment | None) -> dict[str, str]:
    """The environment that the data names, and its reference scores."""
    if environment is None or not environment.named_by:
        return {}
    facts = {"environment": f"{environment.in_words}, as the data says"}
    if environment.reference is not None:
        facts["normalized"] = f"score {environment.reference}"
    return facts


def encoder_note(config: AgentConfig, settings: TaskSettings) -> dict[str, str]:
    """Why states are standardised, where that is the task's default: no published agent's are."""
    departs = KINDS["encoder"].name_of(config.encoder) == settings.encoder == "standardize"
    return {"encoder": "the default where no settings are published"} if departs else {}


def chunks(agent: Agent, task: Task) -> str:
    """What a chunk is, and how many the data has, in words."""
    executed = "all" if agent.execute == agent.chunk else agent.execute
    windows = len(agent.rows(task.train)[0])
    return f"{agent.chunk} actions chosen together, {executed} of them executed; {windows:,} in the data"
