"""The recipes as commands: which there are, where they lie, how one is run, and what a person types to call it."""

import re
import shlex
import sys
import types
from pathlib import Path

RECIPES = (
    "offline",
    "offline_to_online",
    "sweep",
    "resume",
    "watch",
    "evaluate",
    "estimate",
    "export",
    "latency",
    "report",
    "bounds",
    "landscape",
    "collect",
    "settling_time",
    "inspect_data",
    "action_variance",
    "benchmark",
    "benchmark_online",
    "benchmark_scale",
)
"""Their names, in the order of the help and of recipes/README.md."""

_PACKAGE = Path(__file__).parent
_INSTALLED = _PACKAGE / "_recipes"

FOLDER = _INSTALLED if _INSTALLED.is_dir() else _PACKAGE.parent / "recipes"
"""Where their files lie: inside an installed package, or in the checkout."""


def command(recipe: str, *words: object) -> str:
    """A recipe's command, quoted for a shell and spelled as the program that is running was called.

    `python recipes/evaluate.py 'runs/lr [a]/seed0' --episodes 100` if that is one of these scripts; else `deflow
    evaluate ...`, or `python -m deflow evaluate ...`.
    """
    started = Path(sys.argv[0])
    if started.parent.name == "recipes" and started.with_name(f"{recipe}.py").is_file():
        beginning = ["python", f"recipes/{recipe}.py"]
    else:
        beginning = [*program(), said(recipe)]
    return shlex.join([*beginning, *map(str, words)])


def program() -> list[str]:
    """The program that runs recipes: `deflow`, or `python -m deflow`."""
    return ["python", "-m", "deflow"] if Path(sys.argv[0]) == _PACKAGE / "__main__.py" else ["deflow"]


def said(recipe: str) -> str:
    """A recipe's name as that program's first argument."""
    return recipe.replace("_", "-")


def as_called(text: str) -> str:
    """The text, with the commands in it spelled like `command`."""
    return re.sub(r"python recipes/(\w+)\.py", lambda match: command(match[1]), text)


def run_recipe(path: Path) -> None:
    """Run a recipe in place of this program, as `python PATH` would: it is `__main__`, and imports from its folder.

    Unlike `runpy.run_path`, it leaves `sys.argv[0]` alone, which says how the program was called.
    """
    recipe, program = types.ModuleType("__main__"), sys.modules["__main__"]
    recipe.__file__ = str(path)
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    sys.modules["__main__"] = recipe
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), vars(recipe))
    finally:
        sys.modules["__main__"] = program
