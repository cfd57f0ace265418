"""A configuration as plain data, and back: the content of `config.json`, which cannot run code."""

import dataclasses
import importlib.metadata
from collections.abc import Mapping
from typing import Any

from ..errors import SerializationError
from ..registry import Registry
from ..types import Spec
from .configuration import KINDS, AgentConfig


def describe_agent(config: AgentConfig) -> dict[str, Any]:
    """The configuration as JSON data: each part's registered name, where it came from, and its fields."""
    return {
        field.name: _describe(getattr(config, field.name), KINDS.get(field.name))
        for field in dataclasses.fields(config)
    }


def restore_agent(description: Mapping[str, Any]) -> AgentConfig:
    """The configuration that `describe_agent` described.

    Raises:
        SerializationError: If a part is not registered here (the message names the part and the package it came
            from), or if its fields do not fit.
    """
    missing = [
        (f"the {registry.kind} {part['name']!r} of {part['from']}", part["from"])
        for field, registry in KINDS.items()
        for part in _parts(description.get(field))
        if part["name"] not in registry
    ]
    if missing:
        parts, origins = zip(*missing, strict=True)
        # An installed package has a version, a file of the user's own has none.
        packages = dict.fromkeys(origin.replace(" ", "==") for origin in origins if " " in origin)
        remedies = [f"install what it came from (pip install {' '.join(packages)})"] if packages else []
        if any(" " not in origin for origin in origins):
            remedies.append("import the file that defines it first (on the command line: --import FILE)")
        raise SerializationError(
            f"This agent needs {' and '.join(parts)}, not registered here: {', and '.join(remedies)}."
        )
    try:
        return AgentConfig(**{name: _restore(value, KINDS.get(name)) for name, value in description.items()})
    except (TypeError, ValueError) as error:
        raise SerializationError(
            f"The recorded agent does not fit this version of its parts ({error}): use the versions listed in the "
            "run's environment.json."
        ) from error


def describe_spec(spec: Spec) -> dict[str, Any]:
    """The sizes of a problem as JSON data."""
    return dataclasses.asdict(spec)


def restore_spec(description: Mapping[str, Any]) -> Spec:
    """The sizes that `describe_spec` described."""
    return Spec(**{**description, "observation_shape": tuple(description["observation_shape"])})


def _describe(value: Any, registry: Registry | None) -> Any:
    if registry is None or not isinstance(value, registry.bases):
        return list(value) if isinstance(value, tuple) else value
    name = registry.name_of(value)
    fields = {field.name: _describe(getattr(value, field.name), registry) for field in dataclasses.fields(value)}
    return {"name": name, "from": _distribution(registry.distribution(name)), "fields": fields}


def _restore(value: Any, registry: Registry | None) -> Any:
    if registry is None or not isinstance(value, Mapping):
        return tuple(value) if isinstance(value, list) else value
    return registry[value["name"]](**{name: _restore(entry, registry) for name, entry in value["fields"].items()})


def _parts(value: Any) -> list[Mapping[str, Any]]:
    """The described parts in a value: itself, and those it wraps."""
    if not isinstance(value, Mapping):
        return []
    return [value, *(part for entry in value["fields"].values() for part in _parts(entry))]


def _distribution(origin: str) -> str:
    try:
        return f"{origin} {importlib.metadata.version(origin)}"
    except importlib.metadata.PackageNotFoundError:
        return origin
