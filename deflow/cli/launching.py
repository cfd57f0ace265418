"""A launcher from its name and its settings."""

import dataclasses
from collections.abc import Sequence
from typing import Any, get_type_hints

from .. import launchers
from ..errors import UsageError
from ..registry import suggestion
from .help import field_docstrings
from .values import spelled


def launcher_of(name: str, settings: Sequence[str]) -> launchers.AbstractLauncher:
    """The launcher of a name, with settings as NAME=VALUE.

    Raises:
        UnknownNameError: For a launcher that is not registered.
        UsageError: For a setting that it does not have, or a value of another type.
    """
    cls = launchers.registry[name]
    hints = {field.name: get_type_hints(cls)[field.name] for field in dataclasses.fields(cls)}
    given: dict[str, Any] = {}
    for each in settings:
        key, _, value = each.partition("=")
        field = key.replace("-", "_")
        if field not in hints:
            said = field_docstrings(cls)
            listed = "; ".join(f"{each}: {' '.join(said[each].split())}" for each in hints if each in said)
            raise UsageError(f"{suggestion(f'setting of the launcher {name}', key, hints)} {listed}")
        flag = f"--{field.replace('_', '-')}"
        try:
            words = spelled([f"{flag}={value}"], {flag: hints[field]})
        except UsageError as error:
            raise UsageError(f"--launch: {str(error).removeprefix('--')}") from error
        given[field] = _typed(words, hints[field])
    return cls(**given)


def _typed(words: Sequence[str], hint: Any) -> Any:
    if hint is bool:
        return not words[0].startswith("--no-")
    return next((kind(words[1]) for kind in (int, float) if hint in (kind, kind | None)), words[1])
