"""The command line: parsing a recipe's arguments, one-sentence errors, and continuing a run. Only this uses tyro."""

from ..commands import command
from .arguments import peek
from .beginnings import carried, carried_facts, check_carried, learned, take_over_logs
from .behaviours import (
    Behaviours,
    behaviour_config,
    behaviour_options,
    open_behaviours,
    propose,
)
from .budgets import fitting
from .completion import completion
from .data_options import DataOptions, settings_name
from .defaults import suggested
from .device_options import devices_of
from .early_evaluator import early_evaluator, estimator
from .ending import finish
from .first_screen import first_screen
from .help import field_docstrings, print_usage
from .joining import end_with, loaded
from .launching import launcher_of
from .opening import open_run
from .parsing import Command, Import, parse
from .program import USAGE_ERROR, fail, import_files, one_sentence, run, run_plain
from .resuming import (
    check_data,
    check_same,
    check_unchanged,
    continued_task,
    describe_options,
    open_runs,
    recorded_options,
    restore_options,
)
from .screen import bytes_in_words, counted, duration, file_size, parts_in_words, print_facts, say, show
from .spelling import spelled_options
from .staged import check_staged
from .sweeping import Recipe, read_job, read_jobs, share_behaviours, with_absolute_paths, without_needs

__all__ = [
    "USAGE_ERROR",
    "Behaviours",
    "Command",
    "DataOptions",
    "Import",
    "Recipe",
    "behaviour_config",
    "behaviour_options",
    "bytes_in_words",
    "carried",
    "carried_facts",
    "check_carried",
    "check_data",
    "check_same",
    "check_staged",
    "check_unchanged",
    "command",
    "completion",
    "continued_task",
    "counted",
    "describe_options",
    "devices_of",
    "duration",
    "early_evaluator",
    "end_with",
    "estimator",
    "fail",
    "field_docstrings",
    "file_size",
    "finish",
    "first_screen",
    "fitting",
    "import_files",
    "launcher_of",
    "learned",
    "loaded",
    "one_sentence",
    "open_behaviours",
    "open_run",
    "open_runs",
    "parse",
    "parts_in_words",
    "peek",
    "print_facts",
    "print_usage",
    "propose",
    "read_job",
    "read_jobs",
    "recorded_options",
    "restore_options",
    "run",
    "run_plain",
    "say",
    "settings_name",
    "share_behaviours",
    "show",
    "spelled_options",
    "suggested",
    "take_over_logs",
    "with_absolute_paths",
    "without_needs",
]
