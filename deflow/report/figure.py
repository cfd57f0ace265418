"""A picture of learning curves: success, the displacement against its bound, its price, and the losses."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.layout_engine import ConstrainedLayoutEngine

from deflow.report.curves import evaluation_curve, training_curve
from deflow.report.drawing import BLUE, GREEN, PURPLE, VERMILION, band, dress, line, logarithmic
from deflow.report.errors import ReportError
from deflow.report.files import RunFiles, read_runs

Panel = Callable[[Axes], None]


def learning_curve(runs: Iterable[str | os.PathLike], path: str | os.PathLike) -> Path:
    """Draw the runs in these directories, the seeds of one algorithm on one task, into the PNG `path`, and return it.

    Panels without data are left out. No display is needed and no global state of matplotlib is touched. Raises
    `ReportError` for runs of several algorithms or tasks, runs without rows, or a file that cannot be written.
    """
    files = read_runs(runs)
    kinds = sorted({(run.environment, run.algorithm) for run in files})
    if len(kinds) > 1:
        listed = "; ".join(f"{algorithm} on {environment}" for environment, algorithm in kinds)
        raise ReportError(f"A learning curve shows one algorithm on one task, got {listed}; draw one picture for each.")
    main, details = _outcome(files), [panel for panel in (_size(files), _price(files), _losses(files)) if panel]
    if main is None and not details:
        raise ReportError(f"{files[0].path} has no metrics yet; train for longer before drawing.")

    figure = Figure(
        figsize=(10.0, 3.2 + 3.4 * bool(main and details)),
        dpi=130,
        layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08),
        facecolor="white",
    )
    FigureCanvasAgg(figure)
    last = max(run.steps for run in files)

    def draw(place: SubplotSpec, panel: Panel) -> None:
        axes = figure.add_subplot(place)
        panel(axes)
        dress(axes, last)

    rows = figure.add_gridspec(1 + bool(main and details), 1, height_ratios=[1.25, 1.0] if main and details else None)
    if main:
        draw(rows[0], main)
    if details:
        columns = rows[-1].subgridspec(1, len(details))
        for column, panel in zip(columns, details, strict=True):  # pyright: ignore[reportArgumentType]
            draw(column, panel)
    seeds = ", ".join(str(run.seed) for run in files)
    label = f"{kinds[0][1]}, seed{'s' if len(files) > 1 else ''} {seeds}"
    figure.suptitle(f"{kinds[0][0]}   ·   {label}", x=0.012, ha="left", fontsize=12, fontweight="bold")
    path = Path(path)
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise ReportError(f"Cannot write {path}: {error.strerror or error}; choose another place.") from error
    return path


def _outcome(runs: list[RunFiles]) -> Panel | None:
    """Success where the task reports it, the return otherwise."""
    success = evaluation_curve(runs, "evaluation/success")
    curve = success or evaluation_curve(runs, "evaluation/episode.return")
    if curve is None:
        return None

    def panel(axes: Axes) -> None:
        over = "episodes" if len(runs) == 1 else f"{len(runs)} seeds"
        limits = (0.0, 1.0) if success else (-np.inf, np.inf)
        line(axes, curve, BLUE, f"mean over {over}", marker="o")
        band(axes, curve, BLUE, f"95% interval over {over}", limits)
        if len(curve.steps):
            text = f"{curve.mean[-1]:.2f}" if success else f"{curve.mean[-1]:.3g}"
            axes.annotate(
                text,
                (curve.steps[-1], curve.mean[-1]),
                (7, 0),
                textcoords="offset points",
                va="center",
                color=BLUE,
                fontweight="bold",
            )
        if success:
            axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("success rate" if success else "return (undiscounted)")
        axes.legend(loc="upper left", frameon=False, fontsize=9)

    return panel


def _size(runs: list[RunFiles]) -> Panel | None:
    size, bound = training_curve(runs, "training/size"), training_curve(runs, "training/bound")
    if size is None:
        return None

    def panel(axes: Axes) -> None:
        line(axes, size, BLUE, "size")
        if bound is not None:
            axes.plot(bound.steps, bound.mean, color=VERMILION, linestyle=(0, (4, 2)), linewidth=1.6, label="bound")
            axes.legend(loc="best", frameon=False, fontsize=9)
        logarithmic(axes, *(curve for curve in (size, bound) if curve))
        axes.set_title("displacement's size")
        axes.set_ylabel("units of the trust region")

    return panel


def _price(runs: list[RunFiles]) -> Panel | None:
    multiplier = training_curve(runs, "training/multiplier")
    if multiplier is None:
        return None

    def panel(axes: Axes) -> None:
        line(axes, multiplier, PURPLE, "multiplier")
        logarithmic(axes, multiplier)
        axes.set_title("multiplier of the constraint")
        axes.set_ylabel("value per unit of size")

    return panel


def _losses(runs: list[RunFiles]) -> Panel | None:
    named = {"critic": (VERMILION, "training/critic_loss"), "flow": (GREEN, "training/flow_loss")}
    found = {name: (color, training_curve(runs, column)) for name, (color, column) in named.items()}
    curves = {name: (color, curve) for name, (color, curve) in found.items() if curve is not None}
    if not curves:
        return None

    def panel(axes: Axes) -> None:
        for name, (color, curve) in curves.items():
            line(axes, curve, color, name)
        logarithmic(axes, *(curve for _, curve in curves.values()))
        axes.legend(loc="best", frameon=False, fontsize=9)
        axes.set_title("losses")
        axes.set_ylabel("batch mean")

    return panel
