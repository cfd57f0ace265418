"""A picture of estimates: the policies in order of value, and their values against what was measured."""

import math
import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from .drawing import BLUE, GREY, ORANGE, VERMILION, plain
from .estimates import HIGH, LOW, MEASURED, VALUE, Estimates
from .figure import save


def estimates_figure(found: Estimates, path: str | os.PathLike[str]) -> Path:
    """Draw the PNG `path` and return it.

    Raises:
        ReportError: If the file cannot be written.
    """
    both = found.measure is not None
    figure = Figure(
        figsize=(11.0 if both else 7.0, 2.4 + 0.28 * len(found.policies)),
        dpi=130,
        layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08),
        facecolor="white",
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 1 + both, squeeze=False)[0]
    _order(axes[0], found)
    if both:
        _against(axes[1], found)
    return save(figure, path)


def _order(axes: Axes, found: Estimates) -> None:
    """Values with their intervals, the highest on top, and the data's own returns."""
    ranked = found.ranked
    for place, policy in enumerate(reversed(ranked)):
        axes.hlines(place, policy[LOW], policy[HIGH], color=BLUE, alpha=0.3, linewidth=5.0)
        face = "white" if not policy.supported else BLUE
        axes.plot(policy[VALUE], place, "o", color=BLUE, markerfacecolor=face, markersize=6.5)
    own = float(np.mean([policy["estimate/data_return"] for policy in ranked]))
    axes.axvline(own, color=ORANGE, linestyle=(0, (4, 2)), linewidth=1.6, label="the data's own returns")
    axes.set_yticks(
        range(len(ranked)),
        [f"{policy.name}  {policy.step:,}" for policy in reversed(ranked)],
        fontsize=8,
        parse_math=False,
    )
    if not all(policy.supported for policy in ranked):
        axes.plot([], [], "o", color=BLUE, markerfacecolor="white", label="not supported by the data")
    axes.set_xlabel("estimated value, 95% interval")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False, fontsize=8)
    plain(axes, 8)


def _against(axes: Axes, found: Estimates) -> None:
    """The values against what the environment said."""
    assert found.measure is not None
    for policy in found.policies:
        if math.isnan(policy[found.measure]):
            continue
        face = "white" if not policy.supported else BLUE
        axes.vlines(policy[found.measure], policy[LOW], policy[HIGH], color=BLUE, alpha=0.25, linewidth=3.0)
        axes.plot(policy[found.measure], policy[VALUE], "o", color=BLUE, markerfacecolor=face, markersize=6.5)
    best = found.ranked[0]
    if not math.isnan(best[found.measure]):
        axes.plot(best[found.measure], best[VALUE], "*", color=VERMILION, markersize=14, label="the first", zorder=3)
        axes.legend(loc="upper left", frameon=False, fontsize=8)
    agreement = found.agreement()
    if agreement is not None:
        axes.set_title(
            f"rank correlation {agreement.rank_correlation:.2f}, regret {agreement.regret:.2f}", fontsize=10, color=GREY
        )
    axes.set_xlabel("success rate" if found.measure == MEASURED[0] else "return (undiscounted)")
    axes.set_ylabel("estimated value")
    plain(axes, 8)
