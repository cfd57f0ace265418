"""Continue a run that was interrupted or killed, from its directory alone.

    python recipes/resume.py runs/cube-single-play-singletask-task2-v0/deflow/seed0-20260101-120000

Other flags are those of the recipe that made the run, such as `--steps` to train for longer. Seeds that were trained
together are continued together.
"""

import deflow.workers.early_interrupt  # isort: split

import sys
from pathlib import Path

import deflow
from deflow import cli
from deflow.commands import run_recipe


def recipe_of(directory: str) -> Path:
    """The recipe that made the run."""
    run = deflow.Run.open(directory)
    script = Path(__file__).with_name(f"{run.config.get('recipe')}.py")
    if not script.exists():
        raise ValueError(f"{run.path} was not made by one of these recipes: continue it with the program that made it.")
    return script


if __name__ == "__main__":
    runs = [argument for argument in sys.argv[1:] if (Path(argument) / "config.json").is_file()]
    if runs:  # wherever it stands among the flags
        sys.argv.remove(runs[0])
        sys.argv.insert(1, runs[0])
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        if sys.argv[1:2] not in (["-h"], ["--help"]):
            cli.fail(f"Give the run to continue: {cli.command('resume')} RUN")
        cli.print_usage(cli.command("resume"), "RUN [OPTIONS]", __doc__)
        sys.exit(0)
    with cli.one_sentence():
        script = recipe_of(sys.argv[1])
    sys.argv[1:1] = ["--resume"]
    run_recipe(script)
