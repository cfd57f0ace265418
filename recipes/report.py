"""Compare runs: one table of all algorithms over their seeds, and one picture of their learning curves.

    python recipes/report.py runs/cube-single-play-singletask-task2-v0/*/seed*
    python recipes/report.py runs --archive docs/results
    python recipes/report.py docs/results

Writes report.md and report.png. Runs with different settings or lengths are never averaged together.
"""

import deflow.workers.early_interrupt  # noqa: F401

# isort: split
import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import tyro

from deflow import cli, report
from deflow.errors import ReportError


@dataclasses.dataclass(frozen=True)
class Report:
    """Options of the recipe."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run directories, or folders that contain some; or files that --archive wrote."""

    output: Path = Path(".")
    """Folder for report.md and report.png."""

    archive: Path | None = None
    """Folder for a small CSV of each group of seeds: every evaluation, the settings, the command, the commit. It serves
    reports in place of the runs."""

    metric: str | None = None
    """Column of eval.csv to compare (default: evaluation/success, or the return if no run reports success)."""


def main(options: Report) -> None:
    """Finds the runs, compares them, writes the report and prints it."""
    runs = report.read_runs(report.find_runs(options.runs))
    archived = report.write_archive(runs, options.archive) if options.archive else []
    comparison = report.compare(runs, options.metric)
    page, picture = options.output / "report.md", options.output / "report.png"
    command = cli.command("report", *sys.argv[1:])
    text = (
        f"# Comparison of {sum(len(line.runs) for line in comparison.lines)} runs\n\n"
        f"{comparison.markdown()}\n![Learning curves, or outcomes](report.png)\n\nMade by:\n\n```bash\n{command}\n```\n"
    )
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ReportError(f"Cannot write {page}: {error.strerror or error}; choose another --output.") from error
    report.comparison_figure(comparison, picture)
    cli.show(comparison.table())
    cli.say(*comparison.notes, f"Table: {page}", f"Picture: {picture}")
    if options.archive:
        cli.say(f"Archive: {cli.counted(len(archived), 'file')} in {options.archive}")


if __name__ == "__main__":
    cli.run_plain(main, Report, description=__doc__)
