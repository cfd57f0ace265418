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

from .algorithms import resized
from .arguments import UsageError, arranged, check_choices, check_flags, flags_of, wrapped
from .composition import KINDS, AgentConfig
from .evaluation import EvaluationError
from .interaction import InteractionError
from .registry import Registry, UnknownNameError
from .report import ReportError
from .runs import RunError

Options = TypeVar("Options")

Import = Annotated[tuple[Path, ...], tyro.conf.arg(name="import", metavar="FILE", help_behavior_hint="")]
"""Type of an option `--import FILE`: Python files with parts of the user's own."""

USAGE_ERROR = 2
"""Exit code for a user's mistake."""


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
        check_choices(arguments)
        check_flags(arguments, flags_of(type(options)) | flags_of(AgentConfig), defaults)
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
            args=arranged(arguments),
            prog=program,
            description=description,
            config=(tyro.conf.CascadeSubcommandArgs,),
        )
    except SystemExit as stop:
        if stop.code == 0:
            _print_parts()
        raise
    values = {field.name: _member_of(getattr(parsed.agent, field.name)) for field in dataclasses.fields(agent)}
    return Command(parsed.options, AgentConfig(**values))


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
            check_flags(sys.argv[1:], flags_of(options), {})
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
    except (EvaluationError, InteractionError, FloatingPointError, ReportError) as error:
        fail(error, 1)


def print_facts(title: str, facts: dict[str, str]) -> None:
    """A first screen: one line per fact."""
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(f"[cyan]{name}[/]", escape(fact))
    Console(highlight=False).print(table)


# --- what tyro is given


def _agent_options(agent: AgentConfig) -> type:
    """AgentConfig as tyro reads it: its fields, each part a choice among the members of its registry."""
    documentation = field_docstrings(AgentConfig)
    sizes = {name: getattr(agent.field, name) for name in ("width", "depth") if hasattr(agent.field, name)}
    options = []
    for field in dataclasses.fields(AgentConfig):
        annotation: Any = field.type
        keywords: dict[str, Any] = {"help": documentation[field.name]}
        if field.name in KINDS:
            annotation = Any
            keywords["constructor_factory"] = _union_of(KINDS[field.name], getattr(agent, field.name), sizes)
        options.append((field.name, Annotated[annotation, tyro.conf.arg(**keywords)]))
    return dataclasses.make_dataclass("Agent", options, frozen=True)


def _union_of(registry: Registry, default: Any, sizes: dict[str, int], *, inner: bool = False) -> Callable[[], Any]:
    """The choice among a registry's members, whose networks have these sizes unless flags say otherwise; as the `inner`
    part of another, among those that wrap nothing."""

    def union() -> Any:
        chosen = registry.name_of(default)
        members = []
        for name in registry:
            instance = default if name == chosen else resized(registry[name](), sizes)
            parts = wrapped(instance)
            if parts and not inner:
                instance = _stand_in(registry, instance, parts, sizes)
            if not (parts and inner):
                members.append(Annotated[type(instance), tyro.conf.subcommand(name, default=instance)])
        if len(members) == 1:  # a union of one would be no choice at all
            members.append(Annotated[None, tyro.conf.subcommand("-"), tyro.conf.Suppress])
        return Union[tuple(members)]  # noqa: UP007

    return union


def _stand_in(registry: Registry, instance: Any, parts: dict[str, Any], sizes: dict[str, int]) -> Any:
    """What tyro reads for a member that wraps other parts: the same fields, those parts being choices."""
    member, documentation = type(instance), field_docstrings(type(instance))
    fields = []
    for field in dataclasses.fields(member):
        annotation: Any = field.type
        keywords: dict[str, Any] = {"help": documentation.get(field.name, "")}
        if field.name in parts:
            annotation, keywords["constructor_factory"] = Any, _union_of(registry, parts[field.name], sizes, inner=True)
        fields.append((field.name, Annotated[annotation, tyro.conf.arg(**keywords)]))
    stand_in = dataclasses.make_dataclass(member.__name__, fields, frozen=True, namespace={"stands_for": member})
    stand_in.__doc__ = member.__doc__
    return stand_in(**{field.name: getattr(instance, field.name) for field in dataclasses.fields(member)})


def _member_of(parsed: Any) -> Any:
    """The member that was parsed, also where something stood in for it."""
    if not hasattr(parsed, "stands_for"):
        return parsed
    return parsed.stands_for(**{field.name: getattr(parsed, field.name) for field in dataclasses.fields(parsed)})


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
