"""Arguments before they are parsed: mistakes answered with the nearest name, and an order that the parser takes."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Any

from .composition import KINDS
from .registry import suggestion


class UsageError(ValueError):
    """Arguments that cannot be used; the message is one sentence with the remedy."""


def check_choices(arguments: Sequence[str]) -> None:
    """Refuses a kind or a member that does not exist."""
    kinds = {registry.choice: registry for registry in KINDS.values()}
    for argument in arguments:
        match = re.fullmatch(r"([a-z][\w-]*):([\w-]+)", argument)
        if match is None:
            continue
        kind, name = match[1].replace("_", "-"), match[2]
        if kind not in kinds:
            raise UsageError(suggestion("kind of part", kind, kinds))
        if name not in kinds[kind]:
            raise UsageError(suggestion(kinds[kind].kind, name, kinds[kind]))


def arranged(arguments: Sequence[str]) -> list[str]:
    """The same arguments in the order that tyro wants: plain flags, choices, the parts' flags. The last one wins."""
    plain: dict[str, list[str]] = {"": []}
    choices: dict[str, list[str]] = {}
    owned: dict[str, list[str]] = {}
    kinds = {registry.choice for registry in KINDS.values()}
    group = plain[""]
    for argument in arguments:
        kind, colon, _ = argument.partition(":")
        name = argument.partition("=")[0].replace("_", "-")
        if colon and kind.replace("_", "-") in kinds:
            choices[kind.replace("_", "-")] = [argument]
        elif name.startswith("--"):
            groups = owned if name[2:].partition(".")[0] in kinds else plain
            group = groups[name] = [argument]
        else:
            group.append(argument)
    return [argument for groups in (plain, choices, owned) for group in groups.values() for argument in group]


def check_flags(arguments: Sequence[str], plain: set[str], defaults: dict[str, Any]) -> None:
    """Refuses a flag that is neither plain nor one of the parts that are chosen (from these defaults on)."""
    kinds = {name: registry for name, registry in KINDS.items() if name in defaults}
    chosen = {registry.choice: registry.name_of(defaults[name]) for name, registry in kinds.items()}
    for argument in arguments:
        kind, colon, name = argument.partition(":")
        if colon and kind.replace("_", "-") in chosen:
            chosen[kind.replace("_", "-")] = name
    available = set(plain)
    for registry in kinds.values():
        fields = dataclasses.fields(registry[chosen[registry.choice]])
        available |= {f"--{registry.choice}.{field.name.replace('_', '-')}" for field in fields}
    for argument in arguments:
        flag = argument.partition("=")[0].replace("_", "-")
        if not flag.startswith("--") or flag in available:
            continue
        for registry in kinds.values():
            owners = [n for n in registry if flag in {f"--{registry.choice}{f}" for f in _fields(registry[n])}]
            if owners:
                raise UsageError(
                    f"{flag} belongs to {' or '.join(f'{registry.choice}:{n}' for n in owners)}, but the choice is "
                    f"{registry.choice}:{chosen[registry.choice]}: add {registry.choice}:{owners[0]}."
                )
        raise UsageError(suggestion("flag", flag, sorted(available)))


def _fields(part: type) -> list[str]:
    return [f".{field.name.replace('_', '-')}" for field in dataclasses.fields(part)]


def flags_of(options: Any) -> set[str]:
    """The flags of a dataclass of options."""
    fields = {field.name.rstrip("_").replace("_", "-"): field.type for field in dataclasses.fields(options)}
    negated = {f"no-{name}" for name, annotation in fields.items() if annotation is bool}
    return {f"--{name}" for name in {*fields, *negated} - {registry.choice for registry in KINDS.values()}}


def _until_flag(arguments: Sequence[str]) -> list[str]:
    values = []
    for argument in arguments:
        if argument.startswith("-") or re.fullmatch(r"[a-z][\w-]*:[\w-]+", argument):
            break
        values.append(argument)
    return values


def peek(arguments: Sequence[str], flag: str) -> list[str]:
    """The values given to a flag so far, before anything is parsed: some options decide what the defaults are."""
    values: list[str] = []
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == flag:
            following = [value] if equals else _until_flag(arguments[index + 1 :])
            values = following
    return values
