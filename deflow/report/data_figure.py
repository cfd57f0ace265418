"""A picture of a data set's report card: returns, lengths, rewards, ranges, steps and actions."""

import os
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from ..data.report_card import Dimension, ReportCard
from .drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, headline, plain
from .figure import save

BINS = 40
ACTIONS = 6
"""So many actions are drawn."""

_LARGEST = 1e100  # numbers beyond cannot be drawn
_FAR = 100  # with numbers beyond, ranges are drawn on a logarithmic axis


def data_figure(card: ReportCard, path: str | os.PathLike[str]) -> Path:
    """Draw a report card (`deflow.data.report`) into the PNG `path`, and return it. What the data lacks stays empty.

    Raises:
        ReportError: If the file cannot be written.
    """
    figure = Figure(
        figsize=(13.0, 7.0), dpi=130, layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.08), facecolor="white"
    )
    FigureCanvasAgg(figure)
    places = figure.subplots(2, 3)
    returns = np.zeros(0) if card.rewards is None else card.rewards.returns
    _histogram(places[0, 0], returns, "return", "trajectories", BLUE)
    _histogram(places[0, 1], card.trajectories.lengths, "rows of a trajectory", "trajectories", GREEN)
    rewards = np.zeros(0) if card.rewards is None else card.rewards.values
    _histogram(places[0, 2], rewards, "reward of a step", "steps", ORANGE)
    _ranges(places[1, 0], card.dimensions)
    _steps(places[1, 1], card)
    _actions(places[1, 2], card)
    for axes in places.flat:
        plain(axes)
    title = f"{Path(card.title).name}   ·   {card.rows:,} rows in {len(card.trajectories.lengths):,} trajectories"
    headline(figure, title)
    return save(figure, path)


def _histogram(axes: Axes, values: np.ndarray, what: str, counted: str, color: str) -> None:
    """Counts in equal bins; one bar where all are equal."""
    axes.set_xlabel(what)
    axes.set_ylabel(f"number of {counted}")
    values = _drawable(values)
    if not len(values):
        _empty(axes)
        return
    low, high = float(values.min()), float(values.max())
    if not high - low > 1e-9 * max(abs(low), abs(high)):  # too near for edges between them
        middle, half = (low + high) / 2, max(abs(low), 1.0) / 20
        low, high = middle - half, middle + half
    counts, edges = np.histogram(values, np.linspace(low, high, BINS + 1))
    axes.stairs(counts, edges, fill=True, color=color, alpha=0.8)


def _ranges(axes: Axes, dimensions: tuple[Dimension, ...]) -> None:
    """For every dimension a thin line from the lowest to the highest number, and a thick one of a deviation about the
    mean."""
    drawn, furthest = 0, 0.0
    for name, color in (("observations", BLUE), ("actions", VERMILION)):
        mine = [each for each in dimensions if each.column == name]
        rows = np.asarray([(each.lowest, each.highest, each.mean, each.deviation) for each in mine]).reshape(-1, 4)
        places = drawn + np.arange(len(rows))
        drawn += len(rows)
        fine = np.all(np.abs(rows) < _LARGEST, axis=1)
        low, high, mean, deviation = rows[fine].T
        if fine.any():
            axes.vlines(places[fine], low, high, color=color, linewidth=0.9, alpha=0.7)
            axes.plot(places[fine], mean, color=color, linestyle="", marker=".", markersize=4.0)
            axes.vlines(places[fine], mean - deviation, mean + deviation, color=color, linewidth=3.0, label=name)
            furthest = max(furthest, float(np.abs(low).max()), float(np.abs(high).max()))
    axes.set_xlabel("dimension: range, and mean with deviation")
    if not axes.collections:
        _empty(axes)
        return
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if furthest > _FAR:
        axes.set_yscale("symlog", linthresh=1.0)
    axes.legend(frameon=False, fontsize=9, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.2)


def _steps(axes: Axes, card: ReportCard) -> None:
    """How far the state moves at a step, on a logarithmic axis, with the mark beyond which it is a jump."""
    axes.set_xlabel("distance to the next state, in deviations")
    axes.set_ylabel("number of steps")
    lengths = np.zeros(0) if card.steps is None else _drawable(card.steps.lengths)
    lengths = lengths[lengths > 1e-100]
    if card.steps is None or not len(lengths):
        _empty(axes)
        return
    low, high = float(lengths.min()) / 1.1, float(lengths.max()) * 1.1
    counts, edges = np.histogram(lengths, np.geomspace(low, high, BINS + 1))
    axes.stairs(counts, edges, fill=True, color=PURPLE, alpha=0.8)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,), numticks=10))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    if card.steps.jumps:
        axes.axvline(100 * card.steps.usual, color=VERMILION, linewidth=1.5)
        axes.set_title(f"{card.steps.jumps:,} jumps right of the line", loc="left", fontsize=9, color=VERMILION)


def _actions(axes: Axes, card: ReportCard) -> None:
    """A histogram of each action, one above the other."""
    axes.set_xlabel("action")
    shown = list(card.histograms.items())[:ACTIONS]
    if not shown:
        _empty(axes)
        return
    for place, (_, (counts, low, high)) in enumerate(reversed(shown)):
        if max(abs(low), abs(high)) < _LARGEST:
            heights = place + 0.9 * counts / max(1, counts.max())
            axes.stairs(heights, np.linspace(low, high, len(counts) + 1), baseline=place, fill=True, color=BLUE)
    names = [title.removeprefix("action ") for title, _ in reversed(shown)]
    axes.set_yticks(np.arange(len(shown)), [name[:20] for name in names], parse_math=False)
    if len(card.histograms) > ACTIONS:
        axes.set_title(f"the first {ACTIONS} of {len(card.histograms)} actions", loc="left", fontsize=9, color=GREY)


def _drawable(values: np.ndarray) -> np.ndarray:
    return values[np.abs(values) < _LARGEST]


def _empty(axes: Axes) -> None:
    axes.text(0.5, 0.5, "nothing to draw", transform=axes.transAxes, ha="center", va="center", color=GREY)
    axes.set_yticks([])
