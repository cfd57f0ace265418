"""Parsing arguments into a recipe's options and an agent: every registry is a choice.

A recipe has a frozen dataclass of options. `parse` turns arguments into that and an agent's configuration:

    python recipes/offline.py [ALGORITHM] --env NAME ... solver:heun --solver.steps 5 trust-region:none
"""

import contextlib
import dataclasses
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar, Union

import tyro

from ..agent import KINDS, AgentConfig, TaskSettings, resized, task_settings, with_settings
from ..registry import Registry
from .arguments import (
    adding_flags,
    arranged,
    check_algorithm_first,
    check_choices,
    check_flags,
    flags_of,
    wrapped,
)
from .completion import wanted
from .data_options import settings_name
from .help import print_choices, print_options, print_parts, print_usage
from .values import spelled, types_of, types_of_parts

Options = TypeVar("Options")


Import = Annotated[tuple[Path, ...], tyro.conf.arg(name="import")]
"""Type of an option `--import FILE`: Python files with the user's own parts."""


Fresh = Callable[[type], Any]
"""Maps a registered class to the part that is offered."""


@dataclasses.dataclass(frozen=True)
class Command(Generic[Options]):
    """Arguments, parsed."""

    options: Options
    agent: AgentConfig


def parse(
    options: Options,
    agent: AgentConfig,
    arguments: Sequence[str],
    *,
    program: str,
    description: str,
) -> Command[Options]:
    """The options and the agent that the arguments describe, starting from these defaults.

    Raises:
        UsageError: For a part, a kind or a flag that does not exist, or a value of another type than its flag's.
        ValueError: What a part refuses.
        SystemExit: With code 0 after `--help` or `--help-all`.
    """
    fresh = _fresh(agent, task_settings(settings_name(options, arguments)))
    if {"-h", "--help", "--help-all"} & set(arguments):
        print_usage(program, "[ALGORITHM] [OPTIONS] [KIND:NAME ...] [--KIND.FIELD VALUE ...]", description)
        print_options(options, agent)
        print_choices(agent)
        if "--help-all" in arguments:
            print_parts(agent, fresh)
        raise SystemExit(0)
    if not wanted(arguments):
        check_algorithm_first(arguments)
        check_choices(arguments)
        check_flags(
            arguments,
            flags_of(type(options)) | flags_of(AgentConfig),
            {name: getattr(agent, name) for name in KINDS},
        )
        arguments = arranged(
            spelled(arguments, types_of(type(options)) | types_of_parts()), adding_flags(type(options))
        )
    choices = _agent_options(agent, fresh)
    annotated: Any = dataclasses.make_dataclass(
        "Command",
        [
            ("options", Annotated[type(options), tyro.conf.arg(name="")]),
            ("agent", Annotated[choices, tyro.conf.arg(name="")]),
        ],
        frozen=True,
    )
    parts = {field.name: getattr(agent, field.name) for field in dataclasses.fields(agent)}
    default = annotated(options=options, agent=choices(**parts))
    config = (tyro.conf.CascadeSubcommandArgs,)
    parsed: Any = filled(annotated, arguments, program=program, default=default, config=config)
    values = {field.name: _member_of(getattr(parsed.agent, field.name)) for field in dataclasses.fields(agent)}
    return Command(parsed.options, AgentConfig(**values))


def filled(options: type[Options], arguments: Sequence[str], *, program: str, **more: Any) -> Options:
    """A dataclass of options from arguments in tyro's spelling; `more` is for `tyro.cli`.

    Raises:
        ValueError: What the options, or parts in them, refuse. tyro would say it in a box, and end.
    """
    box = io.StringIO()
    try:
        with contextlib.redirect_stderr(box):
            return tyro.cli(options, args=arguments, prog=program, **more)
    except SystemExit as end:
        error: BaseException | None = end
        while error is not None and not isinstance(error, ValueError):
            error = error.__cause__ or error.__context__
        if error is None:
            raise
        box = io.StringIO()
        raise error from None
    finally:
        sys.stderr.write(box.getvalue())


def _fresh(agent: AgentConfig, settings: TaskSettings) -> Fresh:
    """Members that are not in the agent yet, with the task's settings and the budget's sizes."""
    default = {field.name: field.default for field in dataclasses.fields(agent.field)}
    sizes = {name: getattr(agent.field, name) for name in ("width", "depth") if hasattr(agent.field, name)}
    sizes = {name: size for name, size in sizes.items() if size != default[name]}  # a budget's, not the published ones

    return lambda member: resized(with_settings(member(), settings, fresh=True), sizes)


def _agent_options(agent: AgentConfig, fresh: Fresh) -> type:
    """A class for tyro with AgentConfig's fields, in which each part is a choice among its registry's members."""
    options = []
    for field in dataclasses.fields(AgentConfig):
        annotation: Any = field.type
        if field.name in KINDS:
            union = _union_of(KINDS[field.name], getattr(agent, field.name), fresh)
            annotation = Annotated[Any, tyro.conf.arg(constructor_factory=union)]
        options.append((field.name, annotation))
    return dataclasses.make_dataclass("Agent", options, frozen=True)


def _union_of(registry: Registry, default: Any, fresh: Fresh, *, inner: bool = False) -> Callable[[], Any]:
    """The choice among a registry's members: the default and `fresh` ones. For the `inner` part of another, the choice
    is among those that wrap nothing."""

    def union() -> Any:
        chosen = registry.name_of(default)
        members = []
        for name in registry:
            instance = default if name == chosen else fresh(registry[name])
            parts = wrapped(instance)
            if parts and not inner:
                instance = _stand_in(registry, instance, parts, fresh)
            if not (parts and inner):
                members.append(Annotated[type(instance), tyro.conf.subcommand(name, default=instance)])
        if len(members) == 1:  # a union of one would be no choice at all
            members.append(Annotated[None, tyro.conf.subcommand("-"), tyro.conf.Suppress])
        return Union[tuple(members)]  # noqa: UP007

    return union


def _stand_in(registry: Registry, instance: Any, parts: dict[str, Any], fresh: Fresh) -> Any:
    """A stand-in for a member that wraps other parts: the same fields, but the wrapped parts are choices."""
    member = type(instance)
    fields = []
    for field in dataclasses.fields(member):
        annotation: Any = field.type
        if field.name in parts:
            union = _union_of(registry, parts[field.name], fresh, inner=True)
            annotation = Annotated[Any, tyro.conf.arg(constructor_factory=union)]
        fields.append((field.name, annotation))
    stand_in = dataclasses.make_dataclass(member.__name__, fields, frozen=True, namespace={"stands_for": member})
    return stand_in(**{field.name: getattr(instance, field.name) for field in dataclasses.fields(member)})


def _member_of(parsed: Any) -> Any:
    """The parsed member, also if a stand-in took its place."""
    if not hasattr(parsed, "stands_for"):
        return parsed
    return parsed.stands_for(**{field.name: getattr(parsed, field.name) for field in dataclasses.fields(parsed)})
