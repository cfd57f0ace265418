"""Printing: plain text, tables, and commands that can be pasted into a shell.

Paths and names never go through rich's markup, which would drop `[v2]` as a style.
"""

import shlex

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table


def say(*lines: str) -> None:
    """Prints lines unchanged, neither wrapped nor styled."""
    if lines:
        Console(highlight=False, soft_wrap=True).print("\n".join(lines), markup=False)


def show(table: RenderableType) -> None:
    """Prints a table, as wide as the terminal."""
    Console(highlight=False).print(table)


def command(recipe: str, *words: object) -> str:
    """A recipe's command, quoted for a shell: `python recipes/evaluate.py 'runs/lr [a]/seed0' --episodes 100`."""
    return shlex.join(["python", f"recipes/{recipe}.py", *map(str, words)])


def print_facts(title: str, facts: dict[str, str]) -> None:
    """A first screen: one line per fact."""
    table = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, fact in facts.items():
        table.add_row(f"[cyan]{name}[/]", escape(fact))
    Console(highlight=False).print(table)
