"""The help: how a program is called, its options, the names of the parts, and every field of every part."""

import ast
import dataclasses
import inspect
import itertools
import textwrap
from collections.abc import Callable
from typing import Any, get_type_hints

from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from ..agent import ALGORITHMS, KINDS, AgentConfig
from ..commands import as_called
from .screen import console
from .values import flag_of, is_positional, metavar, types_of


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


def print_usage(program: str, arguments: str, description: str | None) -> None:
    """Prints how a program is called, and what it does."""
    screen = console()
    said = f"usage: {program} {arguments}\n\n{as_called(inspect.cleandoc(description or ''))}\n"
    screen.print(said, markup=False, soft_wrap=True)


def print_options(*options: Any) -> None:
    """Prints the flags of dataclasses, or of objects of them, with their defaults."""
    table = _table()
    for owner in options:
        cls = owner if isinstance(owner, type) else type(owner)
        sentences, types = field_docstrings(cls), types_of(cls)
        for field in dataclasses.fields(cls):
            flag = flag_of(field.name)
            if flag not in types:
                for inner in (one for one in types if one.startswith(f"{flag}.")):
                    of_inner = field_docstrings(get_type_hints(cls)[field.name])
                    table.add_row(f"{inner} {metavar(types[inner])}", escape(of_inner[inner.rpartition(".")[2]]))
                continue
            words = field.name.upper() if is_positional(cls, field.name) else f"{flag} {metavar(types[flag])}"
            if types[flag] is bool:
                words = f"{flag}, --no-{flag[2:]}"
            value = field.default if isinstance(owner, type) else getattr(owner, field.name)
            sentence = sentences.get(field.name, "")
            hidden = value in (None, (), dataclasses.MISSING) or "(default" in sentence
            table.add_row(words, escape(sentence + ("" if hidden else f" (default: {_said(value)})")))
    screen = console()
    screen.print("[bold]OPTIONS[/]")
    screen.print(table)


def print_choices(agent: AgentConfig) -> None:
    """Prints the names of all algorithms and parts."""
    screen = console()
    screen.print("\n[bold]ALGORITHM[/], the first argument")
    screen.print(Padding(" ".join(ALGORITHMS), (0, 2)))
    screen.print("\n[bold]KIND:NAME[/], the parts (* what the algorithm has)")
    table = _table()
    for kind, registry in KINDS.items():
        chosen = registry.name_of(getattr(agent, kind))
        names = [f"[bold]{name}*[/]" if name == chosen else name for name in registry]
        table.add_row(f"{registry.choice}:", " ".join(names))
    screen.print(table)
    screen.print("\nEvery field of every part: --help-all", markup=False)


def print_parts(agent: AgentConfig, fresh: Callable[[type], Any]) -> None:
    """Prints all members of all registries with their fields. `fresh` makes a member that the agent does not have."""
    table = _table()
    for kind, registry in KINDS.items():
        for name in registry:
            chosen = getattr(agent, kind)
            member = chosen if name == registry.name_of(chosen) else fresh(registry[name])
            summary = inspect.cleandoc(type(member).__doc__ or "").partition("\n")[0]
            table.add_row(f"[bold]{registry.choice}:{name}[/]", escape(summary))
            sentences = field_docstrings(type(member))
            for field in dataclasses.fields(member):
                flag, value = flag_of(f"{registry.choice}.{field.name}"), getattr(member, field.name)
                table.add_row(f"  {flag}", escape(f"{sentences.get(field.name, '')} (default: {value})"))
    screen = console()
    screen.print("\n[bold]PARTS[/], with the defaults for this algorithm and task")
    screen.print(table)


def _table() -> Table:
    table = Table(show_header=False, box=None, padding=(0, 0, 0, 2))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column()
    return table


def _said(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
