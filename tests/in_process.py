"""Recipes that run in this process, which has imported everything and compiles each program once."""

import contextlib
import io
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from kept_workers import kept_workers

ROOT = Path(__file__).parents[1]


def recipe(name, *arguments):
    """Run a recipe to its end, with the workers of the one before. Gives what a process of its own would have left."""
    said, told = io.StringIO(), io.StringIO()
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        redirected = contextlib.redirect_stdout(said), contextlib.redirect_stderr(told)
        for context in (kept_workers(), warnings.catch_warnings(), *redirected):
            stack.enter_context(context)
        warnings.simplefilter("ignore")  # that a tiny set holds no success is none of these tests' business
        patch.setattr(warnings, "showwarning", warnings.showwarning)  # the recipe replaces it
        patch.setattr(sys, "argv", [str(ROOT / "recipes" / f"{name}.py"), *map(str, arguments)])
        patch.setenv("COLUMNS", "400")
        patch.syspath_prepend(ROOT / "recipes")  # as for a script
        code = 0
        try:
            runpy.run_path(str(ROOT / "recipes" / f"{name}.py"), run_name="__main__")
        except SystemExit as stop:
            code = stop.code
    return subprocess.CompletedProcess(arguments, code, said.getvalue(), told.getvalue())
