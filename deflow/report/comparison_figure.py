"""A picture of a comparison: the learning curves of all algorithms, one panel per task, or their outcomes."""

import math
import os
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .comparison import ESTIMATE, SUCCESS, Comparison
from .curves import evaluation_curve
from .drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, band, dress, headline
from .figure import save
from .outcomes_figure import outcomes_figure

COLORS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, GREY, "#56B4E9", "#000000")
DASHES = ("-", (0, (5, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2)))
"""Line styles once all colours are used."""


def comparison_figure(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Draw the learning curves of a comparison into the PNG `path`, and return it.

    Curves are means over seeds, at the steps that all of them have; bands are 95% intervals over seeds, or over
    episodes for a single seed. Where no run was evaluated twice, there are no curves: see `outcomes_figure`.

    Raises:
        ReportError: If the file cannot be written.
    """
    lines = comparison.lines
    curves = [evaluation_curve(line.runs, comparison.metric) for line in lines]
    if all(curve is None or len(curve.steps) == 1 for curve in curves):
        return outcomes_figure(comparison, path)
    tasks = list(dict.fromkeys(line.task for line in lines))
    order = list(dict.fromkeys(comparison.name_of(line) for line in lines))
    columns = min(3, math.ceil(math.sqrt(len(tasks))))
    rows = math.ceil(len(tasks) / columns)
    figure = Figure(
        figsize=(10.0, 4.6) if columns == 1 else (4.2 * columns + 1, 3.2 * rows + 0.8),
        dpi=130,
        layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08),
        facecolor="white",
    )
    FigureCanvasAgg(figure)
    frames = [figure.add_subplot(rows, columns, number + 1) for number in range(len(tasks))]
    handles = {}
    for axes, task in zip(frames, tasks, strict=True):
        mine = [line for line in lines if line.task == task]
        for line, curve in zip(lines, curves, strict=True):
            if line.task != task or curve is None:
                continue
            number = order.index(name := comparison.name_of(line))
            color, dash = COLORS[number % len(COLORS)], DASHES[number // len(COLORS) % len(DASHES)]
            (handles[name],) = axes.plot(
                curve.steps, curve.mean, color=color, linestyle=dash, linewidth=2.0, marker="o", markersize=4.0
            )
            band(axes, curve, color, "", comparison.limits)
        switches = {run.online_from for line in mine for run in line.runs}
        dress(axes, max(line.steps for line in mine), switches.pop() if len(switches) == 1 else None)
        if switches:  # some went online, and some did not or at another step
            axes.set_xlabel("steps (gradient updates, then environment steps)")
        if comparison.metric == SUCCESS:
            axes.set_ylim(-0.03, 1.03)
        axes.set_title(task, fontsize=10, loc="left", parse_math=False)
        axes.set_ylabel(comparison.axis, parse_math=False)
    legend = figure.legend(
        [handles[name] for name in order if name in handles],
        [name for name in order if name in handles],
        loc="outside lower center",
        ncols=max(1, min(len(order), 120 // max(map(len, order)) - 1)),
        frameon=False,
        fontsize=9,
        handlelength=3.5,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    title = "Mean over seeds, with 95% intervals"
    if any(len(line.runs) == 1 for line in lines):
        over = "trajectories and critics" if comparison.metric == ESTIMATE else "episodes"
        title += f" (of a single seed: over its {over})"
    headline(figure, title)
    return save(figure, path)
