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
        if (choice := _choice(argument)) is None:
            continue
        kind, name = choice[0].partition(".")[0], choice[1]
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
        choice = _choice(argument)
        name = argument.partition("=")[0].replace("_", "-")
        if choice is not None and choice[0].partition(".")[0] in kinds:
            choices[choice[0]] = [argument]
        elif name.startswith("--"):
            groups = owned if name[2:].partition(".")[0] in kinds else plain
            group = groups[name] = [argument]
        else:
            group.append(argument)
    ordered = {name: choices[name] for name in sorted(choices, key=lambda name: name.count("."))}  # what wraps, first
    return [argument for groups in (plain, ordered, owned) for group in groups.values() for argument in group]


def check_flags(arguments: Sequence[str], plain: set[str], defaults: dict[str, Any]) -> None:
    """Refuses a flag that is neither plain nor one of the parts that are chosen (from these defaults on)."""
    kinds = {name: registry for name, registry in KINDS.items() if name in defaults}
    chosen = {registry.choice: registry.name_of(defaults[name]) for name, registry in kinds.items()}
    said = dict(filter(None, map(_choice, arguments)))
    chosen |= {kind: name for kind, name in said.items() if kind in chosen}
    available = set(plain)
    for field, registry in kinds.items():
        kind, member = registry.choice, registry[chosen[registry.choice]]
        available |= {f"--{kind}{name}" for name in _fields(member)}
        for name, inner in wrapped(defaults[field] if isinstance(defaults[field], member) else member()).items():
            path = f"{kind}.{name.replace('_', '-')}"
            inner_member = registry[said[path]] if path in said else type(inner)
            available |= {f"--{path}{name}" for name in _fields(inner_member)}
            available.discard(f"--{path}")
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


def wrapped(part: Any) -> dict[str, Any]:
    """The parts of its own kind that a part is made around, by field."""
    bases = tuple(base for registry in KINDS.values() if isinstance(part, registry.bases) for base in registry.bases)
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return {name: value for name, value in values.items() if isinstance(value, bases)}


def _choice(argument: str) -> tuple[str, str] | None:
    """(kind, member) of an argument such as `solver:heun`; `refiner.inner:residual` is a part that another wraps."""
    match = re.fullmatch(r"([a-z][\w.-]*):([\w-]+)", argument)
    return None if match is None else (match[1].replace("_", "-"), match[2])


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
        if argument.startswith("-") or _choice(argument) is not None:
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
