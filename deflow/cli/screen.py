"""Printing: plain text and tables.

Paths and names never go through rich's markup, which would drop `[v2]` as a style.
"""

import dataclasses
from pathlib import Path
from typing import Any

from rich.console import Console, RenderableType
from rich.markup import escape

from ..agent import KINDS, AgentConfig
from ..progress import aside
from ..registry import Registry


def console(**settings: Any) -> Console:
    """Where something is printed. Text stays as it is: numbers have no colours, and `:abc:` is no picture."""
    return Console(highlight=False, emoji=False, **settings)


def say(*lines: str) -> None:
    """Prints lines unchanged, neither wrapped nor styled."""
    if lines:
        with aside():
            console(soft_wrap=True).print("\n".join(lines), markup=False)


def show(table: RenderableType) -> None:
    """Prints a table, as wide as the terminal."""
    with aside():
        console().print(table)


def counted(count: int, one: str, several: str = "") -> str:
    """A number and its noun: `1 episode`, `2,000 episodes`."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def duration(seconds: float) -> str:
    """A time in words: `40 s`, `12 min`, `3.5 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def file_size(path: Path) -> str:
    """The size of a file: `43 kB`, `6.5 MB`."""
    return bytes_in_words(path.stat().st_size)


def bytes_in_words(size: int) -> str:
    """So many bytes: `43 kB`, `6.5 MB`, `12.3 GB`."""
    if size < 1e6:
        return f"{size / 1e3:.0f} kB"
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


def parts_in_words(config: AgentConfig, **notes: str) -> str:
    """One line per part: its kind, its name as on the command line, the values of its fields, and a note, if there is
    one under the part's field."""
    width = max(len(registry.kind) for registry in KINDS.values())
    said = {field: _in_words(getattr(config, field), kind) for field, kind in KINDS.items()}
    noted = {field: f"{words} ({notes[field]})" if field in notes else words for field, words in said.items()}
    return "\n".join(f"{KINDS[field].kind:<{width}} {words}" for field, words in noted.items())


def _in_words(part: Any, registry: Registry) -> str:
    values = []
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        said = _in_words(value, registry) if isinstance(value, registry.bases) else _number(value)
        values.append(f"{field.name.replace('_', ' ')} {said}")
    name = registry.name_of(part)
    return f"{name} ({', '.join(values)})" if values else name


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def print_facts(title: str, facts: dict[str, str]) -> None:
    """A first screen: one line per fact, not folded, so that a path can be copied."""
    screen = console(soft_wrap=True)
    screen.print(f"[bold]{escape(title)}[/]")
    width = max(map(len, facts))
    for name, fact in facts.items():
        lines = escape(fact).replace("\n", "\n" + " " * (width + 3))
        screen.print(f" [cyan]{name:<{width}}[/]  {lines}")
