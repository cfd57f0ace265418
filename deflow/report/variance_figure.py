"""A picture of the intrinsic action variance: its distribution over the data's states."""

import os
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..data.action_variance import EDGES, ActionVariance
from .drawing import BLUE, VERMILION, plain
from .figure import save


def variance_figure(variance: ActionVariance, path: str | os.PathLike[str], *, title: str) -> Path:
    """Draw the histogram over states, with the mean marked, into the PNG `path`, and return it.

    Raises:
        ReportError: If it cannot be written.
    """
    figure = Figure(figsize=(7.0, 3.6), dpi=130, layout=ConstrainedLayoutEngine(), facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    share = np.asarray(variance.counts) / variance.rows
    axes.stairs(share, EDGES, fill=True, color=BLUE, alpha=0.75)
    axes.axvline(variance.value, color=VERMILION, linewidth=2.0)
    axes.annotate(
        f"mean {variance.value:.3g}",
        (variance.value, 1.0),
        (5, -4),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
        color=VERMILION,
        fontweight="bold",
    )
    filled = np.flatnonzero(share)
    axes.set_xscale("log")
    axes.set_xlim(float(EDGES[filled[0]]) / 1.5, float(EDGES[filled[-1] + 1]) * 1.5)
    axes.set_ylim(0, 1.12 * float(share.max()))
    axes.set_xlabel(f"variance of the actions of the {variance.neighbours} nearest states, mean over dimensions")
    axes.set_ylabel(f"share of {variance.rows:,} states")
    axes.set_title(
        f"Intrinsic action variance   ·   {title}", loc="left", fontsize=11, fontweight="bold", parse_math=False
    )
    plain(axes)
    return save(figure, path)
