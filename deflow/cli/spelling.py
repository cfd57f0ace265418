"""Options and parts as the arguments that give them: the inverse of parsing."""

import dataclasses
from typing import Any

from ..agent import KINDS
from .arguments import wrapped
from .values import flag_of


def spelled_options(options: Any, default: Any, *, leave: frozenset[str] = frozenset()) -> list[str]:
    """The flags that turn the default options into these, but for the fields in `leave`."""
    words: list[str] = []
    for field in dataclasses.fields(options):
        value, before = getattr(options, field.name), getattr(default, field.name)
        if field.name in leave or value == before or value is None:
            continue
        flag = flag_of(field.name)
        if dataclasses.is_dataclass(value):
            inner = spelled_options(value, before)
            words += [f"{flag}.{word[2:]}" if word.startswith("--") else word for word in inner]
        elif isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        else:
            words += [flag, *map(str, value)] if isinstance(value, tuple) else [flag, str(value)]
    return words


def spelled_part(kind: str, part: Any) -> list[str]:
    """The choice of a part and the flags of all its fields. `kind` is the agent's field: `trust_region`."""
    registry = KINDS[kind]
    words = [f"{registry.choice}:{registry.name_of(part)}"]
    inside = wrapped(part)
    for field in dataclasses.fields(part):
        value, flag = getattr(part, field.name), f"--{registry.choice}.{field.name.replace('_', '-')}"
        if field.name in inside:
            words += [f"{flag[2:]}:{registry.name_of(value)}"]
            words += [
                word
                for each in dataclasses.fields(value)
                for word in (f"{flag}.{each.name.replace('_', '-')}", str(getattr(value, each.name)))
            ]
        elif isinstance(value, bool):
            words.append(flag if value else f"--{registry.choice}.no-{flag.rpartition('.')[2]}")
        else:
            words += [flag, *map(str, value)] if isinstance(value, tuple) else [flag, str(value)]
    return words
