"""Labels for comparisons: the algorithm, and in brackets what distinguishes these runs."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from .reading import RunFiles

TRAINED_WITH = (
    *("batch_size", "precision", "environments", "updates_per_step", "warmup", "update_after"),
    *("sampling", "capacity", "freeze", "schedule", "refresh_every", "refresh_updates"),
)
"""Options of a recipe that change the training. (Its length is shown as steps.)"""


def labels(runs: Sequence[RunFiles]) -> list[str]:
    """For each run `deflow`, or `deflow (critic.members 10)` if runs of one algorithm on one task differ.

    The brackets have the values that differ, except for a value that most of the algorithm's runs have. Equal labels
    therefore mean equal settings, except for settings that only change from task to task, such as a bound.
    """
    facts = [dict(_facts(run)) for run in runs]
    usual: dict[str, dict[str, str | None]] = {}
    for algorithm in {run.algorithm for run in runs}:
        mine = [(run.environment, known) for run, known in zip(runs, facts, strict=True) if run.algorithm == algorithm]
        usual[algorithm] = {name: _usual(known[name] for _, known in mine if name in known) for name in _varied(mine)}
    named = []
    for run, known in zip(runs, facts, strict=True):
        unusual = [
            f"{name} {known[name]}" for name, value in usual[run.algorithm].items() if known.get(name, value) != value
        ]
        named.append(f"{run.algorithm} ({', '.join(unusual)})" if unusual else run.algorithm)
    return named


def _facts(run: RunFiles) -> Iterator[tuple[str, str]]:
    """What a run was made with, as (name, text): parts, their fields, the data, options."""
    config, options = run.config, run.config.get("options") or {}
    for name, value in (config.get("agent") or {}).items():
        yield from _flat(name.replace("_", "-"), value)
    yield "online-from", "never" if run.online_from is None else f"{run.online_from}"
    if data := config.get("data"):
        yield "data", f"{data.get('source')} {data.get('rows')} {str(data.get('sha256'))[:8]}"
        yield from _flat("columns", data.get("columns") or {})
        yield "terminals", str(data.get("terminals"))
    yield from _flat("rewards", config.get("rewards") or {"scale": 1.0, "shift": 0.0})
    if (bounds := config.get("action_bounds") or {}).get("origin", "environment") != "environment":
        yield "action-bounds", f"{bounds['low']} {bounds['high']}"
    if "success_timing" in (config.get("environment") or {}):
        yield "success-timing", str(config["environment"]["success_timing"])
        yield "environment-arguments", json.dumps(config["environment"].get("arguments") or {}, sort_keys=True)
        yield "picture-effects", str(config["environment"].get("picture_effects", True))
    yield "frame-stack", str((config.get("spec") or {}).get("frame_stack", 1))
    if "learning_rate" in config:
        yield "learning-rate", str(config["learning_rate"])
    behaviour = config.get("behaviour")
    yield "flow", "joint" if behaviour is None else "learned first"
    if behaviour is not None:
        yield "proposals", str(options.get("proposals"))
        if behaviour.get("own"):
            yield "field-steps", str(options.get("field_steps"))
            yield "field-learning-rate", str(options.get("field_learning_rate"))
    for name in TRAINED_WITH:
        if name in options:
            yield name.replace("_", "-"), str(options[name])


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """A part's name and each of its fields, as (name, text)."""
    if isinstance(value, Mapping) and "name" in value:
        yield name, str(value["name"])
        for field, entry in (value.get("fields") or {}).items():
            yield from _flat(f"{name}.{field.replace('_', '-')}", entry)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _varied(runs: Sequence[tuple[str, Mapping[str, str]]]) -> list[str]:
    """Names with two values among the runs of one task. Runs without the name are ignored."""
    values: dict[tuple[str, str], set[str]] = defaultdict(set)
    for environment, known in runs:
        for name, value in known.items():
            values[name, environment].add(value)
    return list(dict.fromkeys(name for (name, _), found in values.items() if len(found) > 1))


def _usual(values: Iterable[str]) -> str | None:
    """The most frequent value, or `None` if there is a tie."""
    (first, count), *others = Counter(values).most_common(2)
    return None if others and others[0][1] == count else first
