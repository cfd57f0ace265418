"""Arguments before they are parsed: mistakes get the nearest name, and the order becomes one that tyro accepts."""

import dataclasses
import difflib
import itertools
import re
from collections.abc import Collection, Sequence
from typing import Any, get_origin

from ..agent import ALGORITHMS, KINDS
from ..commands import command
from ..errors import UsageError
from ..registry import Registry, suggestion
from .values import types_of, wrapped


def check_choices(arguments: Sequence[str]) -> None:
    """Raises a `UsageError` for a kind or a member that does not exist."""
    kinds = {registry.choice: registry for registry in KINDS.values()}
    for before, argument in itertools.pairwise(["", *arguments]):
        if (choice := _like_a_choice(argument)) is None:
            continue
        kind, name = choice[0].partition(".")[0], choice[1]
        if kind not in kinds:
            if before.startswith("--") and "=" not in before:
                continue  # a flag's value, such as the environment module:Name-v0
            raise UsageError(suggestion("kind of part", kind, kinds))
        if name not in kinds[kind]:
            raise UsageError(suggestion(kinds[kind].kind, name, kinds[kind]))


def arranged(arguments: Sequence[str], adds: Collection[str] = ()) -> list[str]:
    """The same arguments in the order that tyro needs: plain flags, choices, the parts' flags. The last one wins, but
    the values of flags in `adds` add up."""
    plain: dict[str, list[str]] = {"": []}
    choices: dict[str, list[str]] = {}
    owned: dict[str, list[str]] = {}
    kinds = {registry.choice for registry in KINDS.values()}
    group = plain[""]
    for argument in arguments:
        choice = _choice(argument)
        name = argument.partition("=")[0].replace("_", "-").replace("--no-", "--")  # of --x and --no-x the last wins
        if choice is not None:
            choices[choice[0]] = [argument]
        elif name.startswith("--"):
            groups = owned if name[2:].partition(".")[0] in kinds else plain
            if name in adds and name in groups:  # its values add up
                group = groups[name]
                group += [argument.partition("=")[2]] if "=" in argument else []
            else:
                group = groups[name] = argument.split("=", 1) if name in adds else [argument]
        else:
            group.append(argument)
    ordered = {name: choices[name] for name in sorted(choices, key=lambda name: name.count("."))}  # what wraps, first
    return [argument for groups in (plain, ordered, owned) for group in groups.values() for argument in group]


def check_flags(arguments: Sequence[str], plain: set[str], defaults: dict[str, Any]) -> None:
    """Raises a `UsageError` for a flag or an inner part of a part that was not chosen (`defaults`: parts so far)."""
    said = dict(filter(None, map(_choice, arguments)))
    places = _places(said, defaults)
    available = plain | {flag for place, (_, part) in places.items() for flag in _flags(place, part)}
    for path, name in said.items():
        if path not in places:
            _refuse_place(f"{path}:{name}", path, places)
        if "." in path and wrapped(places[path][1]):
            raise UsageError(
                f"{path}:{name} wraps another part, so it cannot be wrapped itself: choose another {path}."
            )
    for argument, following in itertools.pairwise([*arguments, ""]):
        flag = argument.partition("=")[0].replace("_", "-")
        if not flag.startswith("--") or flag in available:
            continue
        _refuse_other_spelling(flag, argument.partition("=")[2] or following, available)
        for place, (registry, part) in places.items():
            names = [name for name in registry if flag in _flags(place, registry[name]())]
            if names and place in said:
                raise UsageError(
                    f"{place}:{said[place]} has no {flag.rpartition('.')[2]}: leave {flag} out, or choose "
                    f"{' or '.join(f'{place}:{name}' for name in names)}."
                )
            if names:
                raise UsageError(
                    f"{flag} belongs to {' or '.join(f'{place}:{name}' for name in names)}, but the choice is "
                    f"{place}:{registry.name_of(part)}: add {place}:{names[0]}."
                )
        path = flag[2:].rpartition(".")[0]
        if "." in path and path not in places:
            _refuse_place(flag, path, places)
        near = difflib.get_close_matches(flag, sorted(available), n=1, cutoff=0.5)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"There is no flag {flag}.{hint} --help lists all flags.")


def _refuse_other_spelling(flag: str, value: str, available: Collection[str]) -> None:
    """Raises a `UsageError` for what other programs call a flag, and for a part or the algorithm given as one."""
    kinds = {registry.choice for registry in KINDS.values()}
    if flag[2:] in kinds:
        name = value if value in next(r for r in KINDS.values() if r.choice == flag[2:]) else "NAME"
        raise UsageError(f"A part is chosen without dashes: {flag[2:]}:{name} instead of {flag} {value}.".rstrip())
    if flag in ("--algorithm", "--algo", "--agent"):
        raise UsageError(f"The algorithm comes first and has no flag: {command('offline', value or 'NAME')} ...")
    meant = _OTHER_SPELLINGS.get(flag)
    if meant is not None and meant in available:
        raise UsageError(f"There is no flag {flag}: it is {meant} here.")


_OTHER_SPELLINGS = {
    "--lr": "--learning-rate",
    "--batch": "--batch-size",
    "--bs": "--batch-size",
    "--seed": "--seeds",
    "--output": "--output-dir",
    "--out": "--output-dir",
    "--dataset": "--data",
    "--environment": "--env",
    "--env-id": "--env",
    "--env-name": "--env",
    "--eval-episodes": "--episodes",
    "--eval-freq": "--eval-every",
    "--eval-interval": "--eval-every",
    "--num-workers": "--workers",
    "--gamma": "--discount",
    "--max-steps": "--steps",
    "--iterations": "--steps",
}


def check_algorithm_first(arguments: Sequence[str]) -> None:
    """Raises a `UsageError` for an algorithm's name that is not the first argument."""
    for before, argument in itertools.pairwise(arguments):
        if argument in ALGORITHMS and not before.startswith("--"):
            raise UsageError(f"The algorithm comes first: put {argument} before all flags and parts.")


def _places(said: dict[str, str], defaults: dict[str, Any]) -> dict[str, tuple[Registry, Any]]:
    """Place of a choice (`refiner`, and `refiner.inner` if it wraps one) -> its registry, and the chosen part."""
    places: dict[str, tuple[Registry, Any]] = {}
    for kind, default in defaults.items():
        registry = KINDS[kind]
        part = registry[said[registry.choice]]() if registry.choice in said else default
        places[registry.choice] = registry, part
        for field, inner in wrapped(part).items():
            path = f"{registry.choice}.{field.replace('_', '-')}"
            places[path] = registry, registry[said[path]]() if path in said else inner
    return places


def _refuse_place(argument: str, path: str, places: dict[str, tuple[Registry, Any]]) -> None:
    """Raises a `UsageError`, because no chosen part wraps one at this path."""
    kind, _, field = path.partition(".")
    registry, part = places.get(kind, (None, None))
    names = [] if registry is None else [n for n in registry if field.replace("-", "_") in wrapped(registry[n]())]
    if registry is not None and names:
        raise UsageError(
            f"{argument} sets a part wrapped by {kind}:{names[0]}, but the choice is "
            f"{kind}:{registry.name_of(part)}: add {kind}:{names[0]}."
        )
    raise UsageError(suggestion("place of a part", path, places))


def _choice(argument: str) -> tuple[str, str] | None:
    """(kind, member) of an argument such as `solver:heun`; `refiner.inner:residual` is wrapped by another part.

    None for anything else, such as the environment `module:Name-v0`."""
    choice = _like_a_choice(argument)
    kinds = {registry.choice for registry in KINDS.values()}
    return choice if choice is not None and choice[0].partition(".")[0] in kinds else None


def _like_a_choice(argument: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"([a-z][\w.-]*):([\w-]+)", argument)
    return None if match is None else (match[1].replace("_", "-"), match[2])


def _flags(place: str, part: Any) -> set[str]:
    names = {field.name for field in dataclasses.fields(part)} - set(wrapped(part))
    return {f"--{place}.{name.replace('_', '-')}" for name in names}


def flags_of(options: Any) -> set[str]:
    """The flags of a dataclass of options."""
    types = types_of(options if isinstance(options, type) else type(options))
    negated = {f"--no-{flag[2:]}" for flag, hint in types.items() if hint is bool}
    return {*types, *negated}


def adding_flags(options: Any) -> set[str]:
    """The flags of a dataclass of options that take several values: given again, they add to what was given."""
    return {flag for flag, hint in types_of(options).items() if get_origin(hint) is tuple}


def _until_flag(arguments: Sequence[str]) -> list[str]:
    values = []
    for argument in arguments:
        if argument.startswith("-") or _choice(argument) is not None:
            break
        values.append(argument)
    return values


def peek(arguments: Sequence[str], flag: str) -> list[str]:
    """All values of a flag, in order, before anything is parsed, because some options determine the defaults."""
    values: list[str] = []
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == flag:
            values += [value] * bool(equals) + _until_flag(arguments[index + 1 :])
    return values
