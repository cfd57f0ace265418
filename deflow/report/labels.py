"""Labels for comparisons: the algorithm, and in brackets what distinguishes these runs."""

import dataclasses
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ..agent import KINDS, TaskSettings
from .reading import RunFiles

TRAINED_WITH = (
    *("batch_size", "precision", "environments", "updates_per_step", "warmup", "update_after"),
    *("sampling", "capacity", "freeze", "schedule", "refresh_every", "refresh_updates"),
)
"""Options of a recipe that change the training. (Its length is shown as steps.)"""

AGENT_OF_TASK = ("encoder", "augmentation", "discount", "flow_weight")
"""The agent's parts and numbers that are settings of the task."""

FIELDS_OF_TASK = {
    "trust_region": ("bound",),
    "constraint": ("weight",),
    "critic": ("reward_min", "reward_max"),
}
"""By kind, the parts' fields that are settings of the task whichever part it is, besides its own `task_settings`."""

SETTINGS = {field.name for field in dataclasses.fields(TaskSettings)} - {"steps"}
"""The settings that a task has. Its length is shown as steps."""


def labels(runs: Sequence[RunFiles]) -> list[str]:
    """For each run `deflow`, or `deflow (critic.members 10)` if runs of one algorithm differ.

    The brackets have the values that differ, except for a value that most of the algorithm's runs have. Equal labels
    therefore mean equal settings on all tasks, except for settings that belong to the task, such as a bound or the
    data: runs of different tasks may differ in them, and the value left out is the one that most runs of a task have.
    """
    facts = [{fact.name: fact for fact in facts_of(run)} for run in runs]
    values: dict[tuple[str, str, str | None], Counter[str]] = defaultdict(Counter)
    for run, known in zip(runs, facts, strict=True):
        for fact in known.values():
            values[run.algorithm, fact.name, run.environment].update([fact.text])
            if not fact.of_task:
                values[run.algorithm, fact.name, None].update([fact.text])
    varied = {(algorithm, name) for (algorithm, name, _), found in values.items() if len(found) > 1}
    named = []
    for run, known in zip(runs, facts, strict=True):
        unusual = [
            f"{fact.name} {fact.text}"
            for fact in known.values()
            if (run.algorithm, fact.name) in varied
            and fact.text != _usual(values[run.algorithm, fact.name, run.environment if fact.of_task else None])
        ]
        named.append(f"{run.algorithm} ({', '.join(unusual)})" if unusual else run.algorithm)
    return named


class Fact(NamedTuple):
    """One thing that a run was made with."""

    name: str
    """As a flag has it: `trust-region.bound`."""

    text: str
    """Its value."""

    of_task: bool = False
    """Whether it is the task's own, and may change from task to task. A length, a rate or a size never is."""


def facts_of(run: RunFiles) -> list[Fact]:
    """What a run was made with: parts, their fields, the data, options."""
    return [*_training_facts(run), *_task_facts(run.config)]


def _training_facts(run: RunFiles) -> Iterator[Fact]:
    config, options = run.config, run.config.get("options") or {}
    agent = config.get("agent") or {}
    for name, value in agent.items():
        yield from _part(name, value, name.replace("_", "-"), of_task=name in AGENT_OF_TASK)
    yield Fact("online-from", "never" if run.online_from is None else f"{run.online_from}")
    if "success_timing" in (config.get("environment") or {}):
        yield Fact("success-timing", str(config["environment"]["success_timing"]))
    if "learning_rate" in config:
        yield Fact("learning-rate", str(config["learning_rate"]))
    behaviour = config.get("behaviour")
    yield Fact("flow", "joint" if behaviour is None else "learned first")
    if behaviour is not None:
        yield Fact("proposals", str(options.get("proposals")))
        if run.behaviour_steps is not None:
            yield Fact("field-steps", str(run.behaviour_steps))
        if behaviour.get("own"):
            yield Fact("field-learning-rate", str(options.get("field_learning_rate")))
    flow_critic = (agent.get("critic") or {}).get("name") == "flow"  # some tasks have larger batches for it
    for name in TRAINED_WITH:
        if name in options:
            yield Fact(name.replace("_", "-"), str(options[name]), of_task=flow_critic and name == "batch_size")


def _task_facts(config: Mapping[str, Any]) -> Iterator[Fact]:
    """The data and the environment."""
    if data := config.get("data"):
        yield Fact("data", f"{data.get('source')} {data.get('rows')} {str(data.get('sha256'))[:8]}", of_task=True)
        yield Fact("columns", _text(data.get("columns") or {}), of_task=True)
        yield Fact("terminals", str(data.get("terminals")), of_task=True)
    rewards = config.get("rewards") or {"scale": 1.0, "shift": 0.0}
    yield Fact("rewards", _text(rewards), of_task=True)
    if (bounds := config.get("action_bounds") or {}).get("origin", "environment") != "environment":
        yield Fact("action-bounds", f"{bounds['low']} {bounds['high']}", of_task=True)
    if "success_timing" in (environment := config.get("environment") or {}):
        yield Fact("environment-arguments", _text(environment.get("arguments") or {}), of_task=True)
        yield Fact("picture-effects", str(environment.get("picture_effects", True)), of_task=True)
    yield Fact("frame-stack", str((config.get("spec") or {}).get("frame_stack", 1)), of_task=True)


def _part(kind: str, value: Any, name: str, *, of_task: bool) -> Iterator[Fact]:
    """A part's name and each of its fields, or a number of the agent."""
    if isinstance(value, Mapping) and "name" in value:
        yield Fact(name, str(value["name"]), of_task)
        known = _fields_of_task(kind, str(value["name"]))
        for field, entry in (value.get("fields") or {}).items():
            yield from _part(kind, entry, f"{name}.{field.replace('_', '-')}", of_task=field in known)
    else:
        yield Fact(name, _text(value), of_task)


def _fields_of_task(kind: str, member: str) -> set[str]:
    """The fields of a part that a task's settings may fill, and those that are tuned for a task like them."""
    registry = KINDS.get(kind, {})
    # Of a part that is not installed here, all that have a setting's name.
    filled = registry[member].task_settings if member in registry else SETTINGS
    return {*filled, *FIELDS_OF_TASK.get(kind, ())}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _usual(values: Counter[str]) -> str | None:
    """The most frequent value, or `None` if there is a tie."""
    (first, count), *others = values.most_common(2)
    return None if others and others[0][1] == count else first
