"""Values of flags, before they are parsed: other programs' spellings are understood, a missing or wrong one is said."""

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

from ..agent import KINDS, AgentConfig
from ..errors import UsageError
from ..registry import suggestion

TRUE, FALSE = ("true", "yes", "on"), ("false", "no", "off")


def flag_of(name: str) -> str:
    """A field as a flag: `import_` is `--import`."""
    return f"--{name.rstrip('_').replace('_', '-')}"


def types_of(options: type) -> dict[str, Any]:
    """The type of each flag of a dataclass of options. An agent's parts are no flags."""
    parts = KINDS if options is AgentConfig else ()
    return {flag_of(name): hint for name, hint in leaves(options).items() if name not in parts}


def leaves(options: type, prefix: str = "") -> dict[str, Any]:
    """The type of each field of a dataclass; those of a field that is itself one are `field.inner`."""
    hints, found = get_type_hints(options), {}
    for field in dataclasses.fields(options):
        name, hint = f"{prefix}{field.name}", hints[field.name]
        inner = isinstance(hint, type) and dataclasses.is_dataclass(hint) and not prefix and field.name not in KINDS
        found |= leaves(hint, f"{name}.") if inner else {name: hint}  # pyright: ignore[reportArgumentType]
    return found


def types_of_parts() -> dict[str, Any]:
    """The types of the agent's flags and of all parts' flags: where members differ, what any of them takes."""
    found: dict[str, set[Any]] = {}
    for registry in KINDS.values():
        inner = {f"{registry.choice}.{name}" for member in registry.values() for name in wrapped(member())}
        for place, member in itertools.product((registry.choice, *inner), registry.values()):
            for field in dataclasses.fields(member):
                found.setdefault(flag_of(f"{place}.{field.name}"), set()).add(field.type)
    clear = {flag: hints for flag, hints in found.items() if bool not in hints or len(hints) == 1}
    return types_of(AgentConfig) | {flag: Union[tuple(hints)] for flag, hints in clear.items()}  # noqa: UP007


def wrapped(part: Any) -> dict[str, Any]:
    """The parts that a part wraps, by field."""
    bases = tuple(base for registry in KINDS.values() if isinstance(part, registry.bases) for base in registry.bases)
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    return {name: value for name, value in values.items() if isinstance(value, bases)}


def spelled(
    arguments: Sequence[str], types: Mapping[str, Any], *, positional: float = 0, named: Sequence[str] = ()
) -> list[str]:
    """The arguments with values as tyro reads them: `0,1,2` are three, `1e5` and `256.0` whole numbers where one is
    wanted, `--flag False` is `--no-flag`. `positional` is how many arguments have no flag.

    Raises:
        UsageError: For a flag without its value, a value of another type, or a word that belongs to no flag.
    """
    rest, result = list(arguments), []
    while rest:
        argument = rest.pop(0)
        name, equals, value = argument.partition("=")
        flag = name.replace("_", "-")
        negated = f"--{flag.removeprefix('--no-')}"
        if not flag.startswith("--"):
            if re.match(r"-[a-z]", argument):
                raise UsageError(f"Flags have two dashes: -{flag} instead of {argument}.")
            if not argument.startswith("-") and not _is_choice(argument):
                positional -= 1
                if positional < 0:
                    raise UsageError(
                        f"The argument {argument!r} belongs to no flag: a value follows its flag, and a part is "
                        "written KIND:NAME."
                    )
            result.append(argument)
        elif types.get(flag) is bool:
            word = value or (rest[0] if rest and rest[0].lower() in TRUE + FALSE else "")
            if word and not equals:
                rest.pop(0)
            if word and word.lower() not in TRUE + FALSE:
                raise UsageError(f"{flag} takes no value, got {word}: write {flag} or --no-{flag[2:]}.")
            result.append(f"--no-{flag[2:]}" if word.lower() in FALSE else flag)
        elif types.get(negated) is bool or flag not in types:
            result.append(argument)
            while not equals and rest and not ends_values(rest[0]):
                result.append(rest.pop(0))
        else:
            given = [value] if equals else []
            several = _several(types[flag])
            while (several or not given) and rest and not ends_values(rest[0]):
                given.append(rest.pop(0))
            if several and {int, float} & set(_plain(types[flag])):
                given = [piece for one in given for piece in one.split(",") if piece]
            if not given or "" in given:
                raise UsageError(f"{flag} needs a value: {_wanted(types[flag])}.")
            result += [flag, *(_value(flag, one, types[flag]) for one in given)]
    if 0 < positional < math.inf:
        missing = " ".join(map(str.upper, named[-int(positional) :])) or "An argument"
        raise UsageError(f"{missing} is missing: --help shows what it is.")
    return result


def _value(flag: str, text: str, hint: Any) -> str:
    """The value as tyro reads it."""
    plain = _plain(hint)
    if any(not isinstance(one, str) and one not in (int, float, type(None)) for one in plain):
        return text  # a path, a name, ...
    names = [one for one in plain if isinstance(one, str)]
    if text in names or (text == "None" and type(None) in plain):
        return text
    number = re.sub(r"(?<=\d),(?=\d{3}\b)", "", text)
    try:
        if float in plain:
            return number if int in plain and re.fullmatch(r"[+-]?[\d_]+", number) else str(float(number))
        if int in plain and float(number).is_integer():
            return str(int(float(number))) if not re.fullmatch(r"[+-]?[\d_]+", number) else number
    except (ValueError, OverflowError):
        pass
    if names and not {int, float} & set(plain):
        raise UsageError(suggestion(flag, text, names))
    raise UsageError(f"{flag} takes {_wanted(hint)}, got {text}.")


def _plain(hint: Any) -> list[Any]:
    """The types of one value: `tuple[int, ...] | None` -> int, None; a Literal -> its names."""
    if get_origin(hint) in (Union, UnionType):
        return [one for choice in get_args(hint) for one in _plain(choice)]
    if get_origin(hint) is tuple:
        return [one for choice in get_args(hint) if choice is not Ellipsis for one in _plain(choice)]
    return list(get_args(hint)) if get_origin(hint) is Literal else [hint]


def _several(hint: Any) -> bool:
    return any(get_origin(one) is tuple for one in (hint, *get_args(hint)))


def _wanted(hint: Any) -> str:
    words = {int: "a whole number", float: "a number", Path: "a path", str: "a name", type(None): ""}
    said = [words.get(one, repr(one) if isinstance(one, str) else "a value") for one in _plain(hint)]
    return " or ".join(dict.fromkeys(filter(None, said)))


def metavar(hint: Any) -> str:
    """What stands for a flag's value in the help: INT, PATH, paper|quickstart."""
    several = " ..." if _several(hint) else ""
    names = [one if isinstance(one, str) else one.__name__.upper() for one in _plain(hint) if one is not type(None)]
    return "" if names == ["BOOL"] else "|".join(names).replace("STR", "NAME") + several


def _choices() -> set[str]:
    return {registry.choice for registry in KINDS.values()}


def _is_choice(argument: str) -> bool:
    return argument.partition(":")[0].partition(".")[0].replace("_", "-") in _choices() and ":" in argument


def ends_values(argument: str) -> bool:
    """Whether an argument is no value of the flag before it: another flag, or a part."""
    return _is_choice(argument) or (argument.startswith("-") and re.fullmatch(r"-[\d.].*", argument) is None)


def is_positional(options: type, name: str) -> bool:
    """Whether a field takes an argument without a flag."""
    return tyro.conf.Positional in getattr(get_type_hints(options, include_extras=True)[name], "__metadata__", ())


def positional_of(options: type) -> float:
    """How many arguments without a flag the options take."""
    hints = get_type_hints(options)
    names = [field.name for field in dataclasses.fields(options) if is_positional(options, field.name)]
    return sum(math.inf if get_origin(hints[name]) is tuple else 1.0 for name in names)
