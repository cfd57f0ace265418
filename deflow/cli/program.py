"""Running a recipe as a program: importing the user's files, printing facts, and ending with one-sentence errors."""

import contextlib
import dataclasses
import inspect
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.markup import escape

from ..agent import AgentConfig
from ..commands import command
from ..environments import import_file
from ..errors import (
    EvaluationError,
    HostsError,
    InteractionError,
    ProposalsError,
    ReportError,
    RunError,
    UnknownNameError,
    UsageError,
)
from ..progress import aside
from ..workers.early_sign import early_sign
from .arguments import check_flags, flags_of
from .compiled_programs import keep_compiled_programs
from .completion import wanted
from .data_options import DataOptions, with_recorded_environment
from .help import print_options, print_usage
from .joining import check_alike, go_on, join, joined, leave
from .parsing import filled, parse
from .screen import console
from .values import is_positional, positional_of, spelled, types_of

USAGE_ERROR = 2
"""Exit code for a user's mistake."""


def import_files(paths: Sequence[str | Path]) -> None:
    """Runs the user's own Python files, so that the parts they register are available.

    Raises:
        UsageError: If a file is missing or fails. The message includes the file's own error.
    """
    for path in map(Path, paths):
        if not path.is_file():
            raise UsageError(f"--import {path}: the file does not exist.")
        if path.suffix != ".py":
            raise UsageError(f"--import {path}: not a Python file (its name must end in .py).")
        try:
            import_file(path)
        except Exception as error:
            line = next((f.lineno for f in reversed(inspect.trace()) if f.filename == str(path.absolute())), "?")
            raise UsageError(f"--import {path}: line {line}: {type(error).__name__}: {error}") from error


def fail(message: object, code: int = USAGE_ERROR) -> NoReturn:
    """Prints one sentence to stderr and ends the program, without a traceback. Those that train together with it end,
    too."""
    _say("error", "bold red", message)
    if joined():
        leave(code)
    raise SystemExit(code)


def _say(what: str, style: str, message: object) -> None:
    with aside():
        console(stderr=True, soft_wrap=True).print(f"[{style}]{what}:[/] {escape(str(message))}")


def run(
    main: Callable[..., None],
    defaults: Callable[[list[str]], tuple[Any, AgentConfig, str]],
    *,
    description: str | None,
) -> None:
    """The program of a recipe with an agent: defaults, arguments, `main(options, agent, algorithm)`, short errors."""
    with one_sentence():
        arguments = with_recorded_environment(sys.argv[1:])
        keep_compiled_programs()
        options, agent, algorithm = defaults(arguments)
        if arguments[:1] == [algorithm]:
            arguments = arguments[1:]
        parsed = parse(options, agent, arguments, program=_called(main), description=description or "")
        if hasattr(parsed.options, "join"):
            join(parsed.options.join)
            check_alike(parsed.options, parsed.agent)
        check_platform()
        main(parsed.options, parsed.agent, algorithm)


def _called(main: Callable[..., None]) -> str:
    """The command of the recipe whose `main` this is."""
    return command(Path(inspect.getfile(main)).stem)


def check_platform() -> None:
    """Raises a `UsageError` if JAX_PLATFORMS names a device that is not there."""
    if wanted := os.environ.get("JAX_PLATFORMS"):
        import jax

        try:
            jax.devices()
        except (RuntimeError, AssertionError) as error:
            raise UsageError(
                f"JAX finds no device with JAX_PLATFORMS={wanted}: unset it, or install JAX for that device."
            ) from error


def run_plain(main: Callable[..., None], options: type, *, description: str | None, rest: bool = False) -> None:
    """The program of a recipe without an agent: arguments, `main(options)`, short errors. With `rest`, it is
    `main(options, rest)`: the arguments after `--`."""
    with one_sentence():
        arguments = sys.argv[1:]
        end = arguments.index("--") if rest and "--" in arguments else len(arguments)
        arguments, others = arguments[:end], arguments[end + 1 :]
        names = [field.name for field in dataclasses.fields(options) if is_positional(options, field.name)]
        if {"-h", "--help"} & set(arguments):
            print_usage(_called(main), " ".join([*map(str.upper, names), "[OPTIONS]"]), description)
            print_options(options)
            return
        if wanted(arguments):
            filled(options, arguments, program=_called(main))
        if issubclass(options, DataOptions):
            arguments = with_recorded_environment(arguments)
        check_flags(arguments, flags_of(options), {})
        arguments = spelled(arguments, types_of(options), positional=positional_of(options), named=names)
        given = filled(options, arguments, program=_called(main))
        main(*([given, others] if rest else [given]))


@contextlib.contextmanager
def one_sentence() -> Iterator[None]:
    """A context in which a user's mistake ends the program with one sentence and code 2, and Ctrl-C with code 130.

    With the environment variable DEFLOW_TRACEBACK set, errors keep their traceback.
    """
    early_sign.end()
    if os.environ.get("DEFLOW_TRACEBACK"):
        yield
        return
    warnings.showwarning = lambda message, *_, **__: _say("warning", "yellow", message)
    try:
        yield
    except KeyboardInterrupt as interruption:
        fail(interruption if str(interruption) else "interrupted.", 130)
    except (ValueError, UnknownNameError, RunError, ProposalsError) as error:
        fail(error)
    except HostsError as error:
        fail(f"{error}{go_on()}", 1)
    except (EvaluationError, InteractionError, FloatingPointError, ReportError) as error:
        fail(error, 1)
