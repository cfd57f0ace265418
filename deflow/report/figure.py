"""A picture of learning curves: success, the displacement's size and bound, the multiplier, and the losses."""

import os
from collections.abc import Iterable
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..errors import ReportError
from .drawing import dress, headline
from .finding import read_runs
from .panels import Panel, losses_panel, outcome_panel, price_panel, size_panel
from .reading import RunFiles


def learning_curve(runs: Iterable[str | os.PathLike[str]], path: str | os.PathLike[str]) -> Path:
    """Draw the runs in these directories, the seeds of one algorithm on one task, into the PNG `path`, and return it.

    The offline and the online phase are in one picture, with the switch marked. Panels without data are left out. No
    display is needed, and matplotlib's global state is not changed.

    Raises:
        ReportError: If the runs are of several algorithms or tasks, went online at different steps or have no rows,
            or if the file cannot be written.
    """
    files = read_runs(runs)
    kinds = sorted({(run.environment, run.algorithm) for run in files})
    if len(kinds) > 1:
        listed = "; ".join(f"{algorithm} on {environment}" for environment, algorithm in kinds)
        raise ReportError(f"A learning curve shows one algorithm on one task, got {listed}; draw one picture for each.")
    last = max(run.steps for run in files)
    switch = _switch(files, last)
    main = outcome_panel(files, switch)
    details = [panel for panel in (size_panel(files), price_panel(files), losses_panel(files)) if panel]
    if main is None and not details:
        raise ReportError(f"{files[0].path} has no metrics yet; train for longer before drawing.")

    figure = Figure(
        figsize=(10.0, 3.2 + 3.4 * bool(main and details)),
        dpi=130,
        layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08),
        facecolor="white",
    )
    FigureCanvasAgg(figure)

    def draw(place: SubplotSpec, panel: Panel) -> None:
        axes = figure.add_subplot(place)
        panel(axes)
        dress(axes, last, switch)

    rows = figure.add_gridspec(1 + bool(main and details), 1, height_ratios=[1.25, 1.0] if main and details else None)
    if main:
        draw(rows[0], main)
    if details:
        columns = rows[-1].subgridspec(1, len(details))
        for column, panel in zip(columns, details, strict=True):  # pyright: ignore[reportArgumentType]
            draw(column, panel)
    seeds = ", ".join(str(run.seed) for run in files)
    label = f"{kinds[0][1]}, seed{'s' if len(files) > 1 else ''} {seeds}"
    headline(figure, f"{kinds[0][0]}   ·   {label}")
    return save(figure, path)


def save(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a PNG.

    Raises:
        ReportError: If it cannot be written.
    """
    path = Path(path)
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise ReportError(f"Cannot write {path}: {error.strerror or error}; choose another place.") from error
    return path


def _switch(runs: list[RunFiles], last: int) -> int | None:
    """The step at which all runs went online; `None` if they did not, or not yet."""
    starts = {run.online_from for run in runs}
    if len(starts) > 1:
        listed = "; ".join(
            f"seed {run.seed} {'never' if run.online_from is None else f'at step {run.online_from:,}'}" for run in runs
        )
        raise ReportError(f"The runs went online at different steps ({listed}); draw one picture for each of them.")
    (start,) = starts
    return None if start is None or start >= last else start
