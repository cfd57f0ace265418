"""A picture of a comparison whose runs were evaluated once: what each seed reached, a row for each algorithm."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .comparison import SUCCESS, Comparison, ComparisonLine
from .drawing import BLUE, GREY, headline, plain
from .figure import save

COLUMNS = 3
"""Most panels beside each other."""


def outcomes_figure(comparison: Comparison, path: str | os.PathLike[str]) -> Path:
    """Draw the outcomes of a comparison into the PNG `path`, and return it: in a panel for each task, and one for the
    mean over all of them, a dot for each seed, their mean, and its 95% interval over seeds, as in the table.

    Raises:
        ReportError: If the file cannot be written.
    """
    lines = comparison.lines
    tasks = {line.task for line in lines}
    over_all = [line for line in comparison.over_tasks if len(line.values) == len(tasks)]
    panels: dict[str, list[ComparisonLine]] = {}
    for line in (*lines, *over_all):
        panels.setdefault(line.task, []).append(line)
    ranked = [*over_all, *sorted(lines, key=lambda line: -line.mean.value)]
    order = list(dict.fromkeys(comparison.name_of(line) for line in ranked))
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    panel = max(3.0, 0.075 * max(map(len, panels)))  # for the longest title above one
    width = columns * panel + 0.075 * max(map(len, order)) + 0.6
    figure = Figure(
        figsize=(max(5.0, width), rows * (0.34 * len(order) + 0.9) + 0.5),
        dpi=130,
        layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08),
        facecolor="white",
    )
    FigureCanvasAgg(figure)
    success = comparison.metric == SUCCESS  # other metrics have no unit in common
    frames = figure.subplots(rows, columns, sharex=success, sharey=True, squeeze=False).ravel()
    for axes, (title, mine) in zip(frames, panels.items(), strict=False):
        _panel(axes, mine, [order.index(comparison.name_of(line)) for line in mine], comparison.limits)
        axes.set_title(title, fontsize=9, loc="left", parse_math=False)
    for axes in frames[len(panels) :]:
        axes.remove()
    frames[0].set_yticks(range(len(order)), order, parse_math=False)
    frames[0].set_ylim(len(order) - 0.5, -0.5)
    if success:
        frames[0].set_xlim(-0.03, 1.03)
    for axes in frames[max(0, len(panels) - columns) : len(panels)]:
        axes.set_xlabel(comparison.axis, parse_math=False)
        axes.tick_params(labelbottom=True)
    headline(figure, "Each seed, their mean, and its 95% interval")
    return save(figure, path)


def _panel(axes: Axes, lines: Sequence[ComparisonLine], places: Sequence[int], limits: tuple[float, float]) -> None:
    for line, place in zip(lines, places, strict=True):
        low, high = np.clip(line.mean[1:], *limits)
        if not math.isnan(low):
            axes.hlines(place, low, high, color=BLUE, alpha=0.3, linewidth=5.0)
        if len(line.values) == 1 or not math.isnan(low):  # where tasks have other seeds, a mean over tasks has none
            values = np.mean(line.values, axis=0)
            axes.plot(values, [place] * len(values), "o", color=GREY, markersize=3.5, alpha=0.7, zorder=3)
        axes.plot([line.mean.value], [place], "D", color=BLUE, markersize=5.5, zorder=2)
    plain(axes)
