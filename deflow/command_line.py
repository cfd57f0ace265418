"""The command line: every registry a choice, every mistake answered with the nearest name. Only here is tyro imported.

A recipe is a frozen dataclass of options. `parse` turns the arguments into it and an agent's configuration:

    python recipes/offline.py [ALGORITHM] --env NAME ... solver:heun --solver.steps 5 trust-region:none
"""

import ast
import contextlib
import dataclasses
import importlib.util
import inspect
import itertools
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Generic, NoReturn, TypeVar, Union

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .composition import KINDS, AgentConfig
from .evaluation import EvaluationError
from .registry import Registry, UnknownNameError, suggestion
from .runs import RunError

Options = TypeVar("Options")

Import = Annotated[tuple[Path, ...], tyro.conf.arg(name="import", metavar="FILE", help_behavior_hint="")]
"""Type of an option `--import FILE`: Python files with parts of the user's own."""

USAGE_ERROR = 2
"""Exit code for a user's mistake."""


class UsageError(ValueError):
    """Arguments that cannot be used; the message is one sentence with the remedy."""


@dataclasses.dataclass(frozen=True)
class Command(Generic[Options]):
    """Arguments, parsed."""

    options: Options
    agent: AgentConfig


def parse(
    options: Options, agent: AgentConfig, arguments: Sequence[str], *, program: str, description: str
) -> Command[Options]:
    """The options and the agent that the arguments ask for, starting from these defaults.

    **Raises:** `UsageError` for a part, a kind or a flag that does not exist. Ends the program (0) after `--help`,
    and (2) after a value that does not fit its flag.
    """
    defaults = {name: getattr(agent, name) for name in KINDS}
    if not {"-h", "--help"} & set(arguments):
        _check_choices(arguments)
        _check_flags(arguments, _flags(type(options)) | _flags(AgentConfig), defaults)
    choices = _agent_options(agent)
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
    try:
        parsed = tyro.cli(
            annotated,
            default=default,
            args=_arranged(arguments),
            prog=program,
            description=description,
            config=(tyro.conf.CascadeSubcommandArgs,),
        )
    except SystemExit as stop:
        if stop.code == 0:
            _print_parts()
        raise
    values = {field.name: getattr(parsed.agent, field.name) for field in dataclasses.fields(agent)}
    return Command(parsed.options, AgentConfig(**values))


def peek(arguments: Sequence[str], flag: str) -> list[str]:
    """The values given to a flag so far, before anything is parsed: some options decide what the defaults are."""
    values: list[str] = []
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == flag:
            following = [value] if equals else _until_flag(arguments[index + 1 :])
            values = following
    return values


def import_files(paths: Sequence[str | Path]) -> None:
    """Runs the user's own Python files, so that the parts they register can be chosen.

    **Raises:** `UsageError` where a file is missing or fails; it gives the file's own error.
    """
    for path in map(Path, paths):
        if not path.is_file():
            raise UsageError(f"--import {path}: there is no such file.")
        name = re.sub(r"\W", "_", path.stem)
        specification = importlib.util.spec_from_file_location(name, path)
        if specification is None or specification.loader is None:
            raise UsageError(f"--import {path}: not a Python file (its name must end in .py).")
        module = importlib.util.module_from_spec(specification)
        sys.modules[name] = module
        try:
            specification.loader.exec_module(module)
        except Exception as error:
            line = next((f.lineno for f in reversed(inspect.trace()) if f.filename == str(path)), "?")
            raise UsageError(f"--import {path}: line {line}: {type(error).__name__}: {error}") from error


def fail(message: object, code: int = USAGE_ERROR) -> NoReturn:
    """Prints one sentence to stderr and ends the program, without a traceback."""
    _say("error", "bold red", message)
    raise SystemExit(code)


def _say(what: str, style: str, message: object) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"[{style}]{what}:[/] {escape(str(message))}")


def run(
    main: Callable[..., None],
    defaults: Callable[[list[str]], tuple[Any, AgentConfig, str]],
    *,
    program: str,
    description: str | None,
) -> None:
    """A recipe's whole program: defaults, arguments, `main(options, agent, algorithm)`; mistakes in one sentence."""
    with one_sentence():
        arguments = sys.argv[1:]
        options, agent, algorithm = defaults(arguments)
        if arguments[:1] == [algorithm]:
            arguments = arguments[1:]
        command = parse(options, agent, arguments, program=program, description=description or "")
        main(command.options, command.agent, algorithm)


def run_plain(main: Callable[[Any], None], options: type, *, description: str | None) -> None:
    """The whole program of a recipe that composes no agent: `main(options)`; mistakes in one sentence."""
    with one_sentence():
        if not {"-h", "--help"} & set(sys.argv[1:]):
            _check_flags(sys.argv[1:], _flags(options), {})
        main(tyro.cli(options, description=description))


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """Within: a user's mistake ends the program with its sentence and code 2, Ctrl-C with code 130.

    With the environment variable DEFLOW_TRACEBACK set, errors keep their traceback.
    """
    if os.environ.get("DEFLOW_TRACEBACK"):
        yield
        return
    warnings.showwarning = lambda message, *_, **__: _say("warning", "yellow", message)
    try:
        yield
    except KeyboardInterrupt as interruption:
        fail(interruption if str(interruption) else "interrupted.", 130)
    except (ValueError, UnknownNameError, RunError) as error:
        fail(error)
    except (EvaluationError, FloatingPointError) as error:
        fail(error, 1)


def print_facts(title: str, facts: dict[str, str]) -> None:
    """A first screen: one line per fact."""
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(f"[cyan]{name}[/]", escape(fact))
    Console(highlight=False).print(table)


# --- what is checked before tyro sees it


def _check_choices(arguments: Sequence[str]) -> None:
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


def _arranged(arguments: Sequence[str]) -> list[str]:
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


def _check_flags(arguments: Sequence[str], plain: set[str], defaults: dict[str, Any]) -> None:
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


def _flags(options: Any) -> set[str]:
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


# --- what tyro is given


def _agent_options(agent: AgentConfig) -> type:
    """AgentConfig as tyro reads it: its fields, each part a choice among the members of its registry."""
    documentation = field_docstrings(AgentConfig)
    options = []
    for field in dataclasses.fields(AgentConfig):
        annotation: Any = field.type
        keywords: dict[str, Any] = {"help": documentation[field.name]}
        if field.name in KINDS:
            annotation = Any
            keywords["constructor_factory"] = _union_of(KINDS[field.name], getattr(agent, field.name))
        options.append((field.name, Annotated[annotation, tyro.conf.arg(**keywords)]))
    return dataclasses.make_dataclass("Agent", options, frozen=True)


def _union_of(registry: Registry, default: Any) -> Callable[[], Any]:
    def union() -> Any:
        chosen = registry.name_of(default)
        members = []
        for name in registry:
            member = registry[name]
            instance = default if name == chosen else member()
            members.append(Annotated[member, tyro.conf.subcommand(name, default=instance)])
        if len(members) == 1:  # a union of one would be no choice at all
            members.append(Annotated[None, tyro.conf.subcommand("-"), tyro.conf.Suppress])
        return Union[tuple(members)]  # noqa: UP007

    return union


# --- help


def field_docstrings(cls: type) -> dict[str, str]:
    """The sentence under each field of a class and of the classes it derives from."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        try:
            tree = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, SyntaxError, TypeError):
            continue  # defined where there is no source to read
        (body,) = (node.body for node in tree.body if isinstance(node, ast.ClassDef))
        for statement, following in itertools.pairwise(body):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                text = following.value if isinstance(following, ast.Expr) else None
                if isinstance(text, ast.Constant) and isinstance(text.value, str):
                    found[statement.target.id] = " ".join(text.value.split())
    return found


def _print_parts() -> None:
    """Every member of every registry, with its fields: what follows the options under --help."""
    table = Table(title="Parts to choose from, and their options", title_justify="left", show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column()
    for registry in KINDS.values():
        for name in registry:
            member = registry[name]
            summary = inspect.cleandoc(member.__doc__ or "").partition("\n")[0]
            table.add_row(f"[bold]{registry.choice}:{name}[/]", escape(summary))
            sentences = field_docstrings(member)
            for field in dataclasses.fields(member):
                default = "" if field.default is dataclasses.MISSING else f" (default: {field.default})"
                flag = f"  --{registry.choice}.{field.name.replace('_', '-')}"
                table.add_row(escape(flag), escape(sentences.get(field.name, "") + default))
    Console().print(table)
