"""Look at data before training on it: what is in it, what stands in the way, and what to do.

    python recipes/inspect_data.py my_data.npz
    python recipes/inspect_data.py collected --env cube-single-play-singletask-task2-v0 --rows 200000

Odd data is described, never refused. A million rows of 28 numbers take less than a minute.
"""

import deflow.workers.early_interrupt  # isort: split

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

import deflow
from deflow import cli
from deflow.agent import variance_factor
from deflow.data.endings import Terminals
from deflow.data.readers import AS_NAMED
from deflow.data.report_card import dimensions_csv, facts, table, warned
from deflow.report import data_figure


@dataclasses.dataclass(frozen=True)
class InspectData:
    """Options of the recipe."""

    data: Annotated[str, tyro.conf.Positional]
    """The path or address of your own data, or collected or official with the --env that it belongs to."""

    env: str = "none"
    """Gives the bounds of actions, and the rewards of OGBench's data: an OGBench single-task dataset name, a Gymnasium
    id, or recorded, which is what the data names."""

    reader: str | None = None
    """What reads your own data, if its content does not say."""

    columns: deflow.data.Columns = AS_NAMED
    """Which columns of your own data are what."""

    terminals: Terminals | None = None
    """What a lone `terminals` column in your own file marks: trajectory-end or termination."""

    action_low: tuple[float, ...] = ()
    """Lowest action: one number, or one for each coordinate (default: the environment's, or the data's)."""

    action_high: tuple[float, ...] = ()
    """Highest action."""

    rows: int = 1_000_000
    """Transitions of `collected` data."""

    data_seed: int = 0
    """Seed of the collection."""

    data_dir: Path | None = None
    """Data directory (default: ~/.deflow/data)."""

    picture: Path | None = None
    """File of the picture (default: NAME.report.png in this folder). All dimensions are listed in a CSV beside it."""

    workers: int | None = None
    """Processes of a collection (default: one per core)."""

    import_: cli.Import = ()
    """Python files with your own readers and environments, which are run first."""


def main(options: InspectData) -> None:
    """Measure, print, draw, and say what comes next."""
    cli.import_files(options.import_)
    source = deflow.data.named_source(
        options.data,
        rows=options.rows,
        seed=options.data_seed,
        terminals=options.terminals,
        reader=options.reader,
        columns=options.columns,
    )
    card = deflow.data.report(
        source,
        environment=None if options.env == deflow.data.NO_ENVIRONMENT else options.env,
        bounds=bounds_of(options),
        data_dir=options.data_dir,
        workers=options.workers,
    )
    cli.print_facts(card.title, facts(card, factor=variance_factor(cli.settings_name(options))))
    cli.say("", *table(card), "", *warned(card), "")
    picture = data_figure(card, options.picture or f"{Path(card.title).stem}.report.png")
    every = picture.with_suffix(".csv")
    try:
        every.write_text(dimensions_csv(card))
    except OSError as error:
        cli.fail(f"Cannot write {every}: {error.strerror or error}; choose another place with --picture.", 1)
    cli.say(f"Picture: {picture}", f"All dimensions: {every}")


def bounds_of(options: InspectData) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """The lowest and the highest action, if they were given."""
    if bool(options.action_low) != bool(options.action_high):
        raise ValueError("--action-low and --action-high belong together: give both, or neither.")
    return (options.action_low, options.action_high) if options.action_low else None


def data_first(arguments: list[str]) -> list[str]:
    """The arguments, with what follows --data in front: the other recipes have it as a flag."""
    if "--data" not in arguments[:-1]:
        return arguments
    place = arguments.index("--data")
    return [arguments[place + 1], *arguments[:place], *arguments[place + 2 :]]


if __name__ == "__main__":
    sys.argv[1:] = data_first(sys.argv[1:])
    cli.run_plain(main, InspectData, description=__doc__)
