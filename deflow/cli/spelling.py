"""Options and parts as the arguments that give them: the inverse of parsing."""

import dataclasses
from typing import Any

from ..registry import Registry
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
        else:
            words += _given(flag, value)
    return words


def spelled_part(registry: Registry, part: Any, place: str = "") -> list[str]:
    """The choice of a part and the flags of all its fields. `place` is where it is chosen: `refiner.inner`."""
    place = place or registry.choice
    words, inside = [f"{place}:{registry.name_of(part)}"], wrapped(part)
    for field in dataclasses.fields(part):
        path, value = f"{place}.{field.name.replace('_', '-')}", getattr(part, field.name)
        words += spelled_part(registry, value, path) if field.name in inside else _given(f"--{path}", value)
    return words


def _given(flag: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        owner, dot, name = flag[2:].rpartition(".")
        return [flag if value else f"--{owner}{dot}no-{name}"]
    return [flag, *map(str, value)] if isinstance(value, tuple) else [flag, str(value)]
