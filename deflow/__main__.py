"""The program `deflow`: `deflow RECIPE ...` runs a recipe, wherever deflow is installed."""

import deflow.workers.early_interrupt  # isort: split

import ast
import difflib
import sys
from pathlib import Path

import deflow
from deflow.commands import FOLDER, RECIPES, program, run_recipe, said


def main() -> int:
    """Runs the recipe that is the first argument, or prints the help, or says in one sentence what was mistyped."""
    asked = sys.argv[1] if len(sys.argv) > 1 else "--help"
    recipe = asked.replace("-", "_")
    if recipe in RECIPES:
        del sys.argv[1]
        run_recipe(FOLDER / f"{recipe}.py")
        return 0
    if asked in ("-h", "--help"):
        print_help()
        return 0
    if asked == "--version":
        print(f"deflow {deflow.__version__}")
        return 0
    if asked == "--completion":
        print_completion(sys.argv[2:])
        return 0
    print(f"error: {_mistake(asked)}", file=sys.stderr)
    return 2


def _mistake(asked: str) -> str:
    help_command = f"{' '.join(program())} --help lists the recipes."
    if asked.startswith("-"):
        return f"The name of a recipe comes first, got {asked}: {help_command}"
    near = difflib.get_close_matches(Path(asked).stem.replace("_", "-"), [said(name) for name in RECIPES], n=1)
    return f"There is no recipe {asked!r}{f'; did you mean {near[0]!r}?' if near else '.'} {help_command}"


def print_help() -> None:
    """Prints how the program is called, and what each recipe does."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=False, box=None, padding=(0, 0, 0, 2))
    table.add_column(no_wrap=True, style="cyan")
    table.add_column()
    for name in RECIPES:
        table.add_row(said(name), purpose(FOLDER / f"{name}.py"))
    called, console = " ".join(program()), Console(highlight=False)
    console.print(f"usage: {called} RECIPE [OPTIONS]\n", markup=False)
    console.print("Offline reinforcement learning with flow policies, composed from parts.\n\n[bold]RECIPES[/]")
    console.print(table)
    console.print(f"\nA recipe's options: {called} RECIPE --help", markup=False)
    console.print(f"Completion in a shell: {called} --completion bash, or zsh", markup=False)


def print_completion(shell: list[str]) -> None:
    """Prints what a shell runs to complete this program's words."""
    from deflow import cli  # imports JAX, as the recipes do

    with cli.one_sentence():
        print(cli.completion(shell[0] if shell else ""))


def purpose(path: Path) -> str:
    """The first sentence of a recipe's docstring."""
    text = ast.get_docstring(ast.parse(path.read_bytes())) or ""
    return " ".join(text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".") + "."


if __name__ == "__main__":
    sys.exit(main())
