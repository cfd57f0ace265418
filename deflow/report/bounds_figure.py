"""A picture of a map over bounds: success and value against the bound, with the bounds that stand out marked."""

import math
import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from .bounds import BoundMap
from .drawing import BLUE, GREEN, ORANGE, PURPLE, VERMILION, headline, plain
from .figure import save

MARKS = {"published": (VERMILION, "published"), "auto": (ORANGE, "the data's own (auto)"), "best": (GREEN, "best here")}
"""The colour of each bound that stands out, and its words."""

DASHES = {"published": (0, (4, 2)), "auto": (0, (1.5, 1.5))}
"""The lines of those that do not depend on what was trained; the best one is a star."""


def bounds_figure(found: BoundMap, path: str | os.PathLike[str]) -> Path:
    """Draw the PNG `path` and return it: success (or the return) above the critic's value, both against the bound.

    Dots are seeds, lines their means, bars the means' 95% intervals over seeds.

    Raises:
        ReportError: If the file cannot be written.
    """
    figure = Figure(
        figsize=(9.0, 6.6), dpi=130, layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08), facecolor="white"
    )
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[1.25, 1.0])
    by_return = found.by_return
    _panel(above, found, "returns" if by_return else "success", BLUE, (-math.inf, math.inf) if by_return else (0, 1))
    _panel(below, found, "value", PURPLE, (-math.inf, math.inf))
    above.set_ylabel("return (undiscounted)" if by_return else "success rate")
    below.set_ylabel("value of the refined actions,\nby the critic")
    below.ticklabel_format(axis="y", useOffset=False)
    if not by_return:
        above.set_ylim(-0.03, 1.03)
    first = found.files[0]
    region = (((first.config.get("agent") or {}).get("trust_region")) or {}).get("name")
    below.set_xlabel("bound on the displacement's size" + (f" ({region})" if region else ""))
    _mark(above, below, found)
    _axis(below, [*(line.bound for line in found.lines), *found.marks()])
    if len(found.lines[0].seeds) > 1:
        above.legend(loc="best", frameon=False, fontsize=9)
    title = f"{first.environment}   ·   {first.algorithm}, {found.steps:,} updates"
    headline(figure, title)
    return save(figure, path)


def _panel(axes: Axes, found: BoundMap, name: str, color: str, limits: tuple[float, float]) -> None:
    """Every seed's dot, the mean's line and the bars of its intervals."""
    lines = [line for line in found.lines if not math.isnan(line.mean(name).value)]
    bounds = [line.bound for line in lines]
    center, low, high = np.array([line.mean(name) for line in lines]).reshape(-1, 3).T
    low, high = np.clip(low, *limits), np.clip(high, *limits)
    axes.plot(bounds, center, color=color, linewidth=2.0, marker="D", markersize=5.5, zorder=3, label="mean over seeds")
    axes.vlines(bounds, low, high, color=color, alpha=0.25, linewidth=5.0, label="95% interval")
    dots = [(line.bound, getattr(seed, name)) for line in lines for seed in line.measured if len(line.measured) > 1]
    if dots:
        style = {"markersize": 5.5, "markeredgecolor": "white", "markeredgewidth": 0.8, "zorder": 2.5}
        axes.plot(*zip(*dots, strict=True), "o", color=color, label="each seed", **style)
    best = [index for index, bound in enumerate(bounds) if bound == found.best]
    axes.plot(
        [bounds[index] for index in best],
        center[best],
        "*",
        color=MARKS["best"][0],
        markersize=17,
        markeredgecolor="white",
        zorder=4,
    )
    plain(axes)
    axes.tick_params(which="both", color="#B0B0B0")


def _mark(above: Axes, below: Axes, found: BoundMap) -> None:
    """The bounds that stand out, named above the frame; each name has its own height, so that close ones stay
    readable."""
    marked = {"published": found.published, "auto": found.automatic, "best": found.best}
    there = [(name, bound) for name, bound in marked.items() if bound is not None]
    for number, (name, bound) in enumerate(there):
        color, words = MARKS[name]
        for axes in (above, below) if name in DASHES else ():
            axes.axvline(bound, color=color, linestyle=DASHES[name], linewidth=1.6, zorder=1 + 0.1 * number)
        above.annotate(
            f"{words}: {bound:.3g}",
            (bound, 1.0),
            (0, 4 + 13 * (len(there) - 1 - number)),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            color=color,
            fontsize=9,
            fontweight="bold",
        )


def _axis(axes: Axes, bounds: list[float]) -> None:
    """A logarithmic axis with room at both sides, also for a single bound."""
    axes.set_xscale("log")
    low, high = min(bounds), max(bounds)
    room = (high / low) ** 0.06 if high > 10 * low else 2.0
    axes.set_xlim(low / room, high * room)
    narrow = high < 30 * low
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0, 3.0), numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
