"""The help on parts: all members of all registries, with the sentence under each field."""

import ast
import dataclasses
import inspect
import itertools
import textwrap

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..agent import KINDS


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


def print_parts() -> None:
    """Prints all members of all registries with their fields, after the options in --help."""
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
