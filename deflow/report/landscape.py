"""A picture of a policy at one state: the value of actions, the flow's proposals, and the refiner's displacements."""

import dataclasses
import math
import os
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from .drawing import BLUE, GREY, VERMILION, headline
from .figure import save

LEVELS = 14
"""Number of contour levels."""

INK = "#202020"

VALUE = ListedColormap(0.25 + 0.75 * colormaps["YlOrBr_r"](np.linspace(0, 1, 256))[:, :3])
"""From dark to light with the value, and pale enough to draw on."""


@dataclasses.dataclass(frozen=True)
class Slice:
    """The value on a grid of two dimensions of the action."""

    horizontal: np.ndarray
    """Grid along the first of the two, shape (columns,)."""

    vertical: np.ndarray
    """Grid along the second, shape (rows,)."""

    values: np.ndarray
    """Q(o, a) there, shape (rows, columns)."""


@dataclasses.dataclass(frozen=True)
class Landscape:
    """The content of the picture. Actions have shape (N, A); `marked` is the row shown in the close-up."""

    dimensions: tuple[int, int]
    """The two dimensions of the action that are drawn."""

    names: tuple[str, str]
    """What they are called."""

    proposals: np.ndarray
    """The flow's proposals."""

    actions: np.ndarray
    """The action that each proposal becomes, refined and clipped."""

    overview: Slice
    """The value of all actions, [-1, 1] in both dimensions."""

    marked: int
    """Row of the proposal in the close-up."""

    close_up: Slice
    """The value near the marked action."""

    sizes: np.ndarray
    """The size of the displacement from the marked proposal to each point of the close-up's grid."""

    size: float
    """The mean size of all displacements."""

    bound: float
    """The largest size inside, infinite without a trust region."""

    data_action: np.ndarray | None = None
    """The data's action at this state, shape (A,), if there is one."""

    best: int | None = None
    """Row of the action that is executed, if the agent chooses the best of several."""


def landscape_figure(
    landscape: Landscape, path: str | os.PathLike[str], *, title: str, subtitles: tuple[str, str]
) -> Path:
    """Draw the PNG `path` and return it: all proposals on the left, one of them and its trust region on the right.

    `subtitles` describe the slice of the value on each side.

    Raises:
        ReportError: If the file cannot be written.
    """
    figure = Figure(
        figsize=(11.4, 5.6), dpi=100, layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.1), facecolor="white"
    )
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    moved = not np.allclose(landscape.proposals, landscape.actions, atol=1e-6)
    _overview(figure, left, landscape, moved)
    _close_up(figure, right, landscape, moved)
    close = np.ptp(landscape.close_up.horizontal) < np.ptp(landscape.overview.horizontal)
    heads = ("all proposals", "one of them, closer: the square on the left" if close else "one of them, and its region")
    if math.isfinite(landscape.bound):
        heads = (f"{heads[0]}: mean size {landscape.size:.2g}, bound {landscape.bound:g}", heads[1])
    for axes, head, subtitle in zip((left, right), heads, subtitles, strict=True):
        axes.set_title(f"{head}\n", loc="left", fontsize=11, fontweight="bold")
        # Beside the frames' layout, or a long line would push the colour bar away.
        axes.text(0.0, 1.015, subtitle, transform=axes.transAxes, fontsize=8.5, color=GREY, in_layout=False)
        axes.set_xlabel(landscape.names[0])
        axes.set_ylabel(landscape.names[1])
        axes.tick_params(colors=GREY, labelsize=9)
        axes.locator_params(nbins=6)
    headline(figure, title)
    handles = _legend(landscape, moved)
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9.5)
    return save(figure, path)


def _overview(figure: Figure, axes: Axes, landscape: Landscape, moved: bool) -> None:
    _value(figure, axes, landscape.overview)
    _points(axes, landscape, moved, size=1.0, clear=np.arange(len(landscape.actions)))
    window = landscape.close_up
    corner = window.horizontal[0], window.vertical[0]
    sides = window.horizontal[-1] - corner[0], window.vertical[-1] - corner[1]
    edge = np.array([-1, 1, 1, -1, -1])
    axes.plot(edge, np.roll(edge, -1), color=GREY, linewidth=0.8, linestyle="dotted", zorder=5)
    axes.plot(
        corner[0] + sides[0] * np.array([0, 1, 1, 0, 0]),
        corner[1] + sides[1] * np.array([0, 0, 1, 1, 0]),
        color=INK,
        linewidth=1.2,
        zorder=6,
    )


def _close_up(figure: Figure, axes: Axes, landscape: Landscape, moved: bool) -> None:
    window = landscape.close_up
    _value(figure, axes, window)
    if math.isfinite(landscape.bound):
        axes.contour(
            window.horizontal,
            window.vertical,
            landscape.sizes,
            levels=[landscape.bound],
            colors=[BLUE],
            linewidths=2.0,
            linestyles="dashed",
        )
    _points(axes, landscape, moved, size=2.0, clear=np.array([landscape.marked]))


def _value(figure: Figure, axes: Axes, shown: Slice) -> None:
    """Draws filled contours and their colour bar in the frame of the slice."""
    low, high = float(shown.values.min()), float(shown.values.max())
    scale = Normalize(low, high if high > low else low + 1.0)
    levels = np.linspace(scale.vmin or 0.0, scale.vmax or 1.0, LEVELS + 1)
    axes.contourf(shown.horizontal, shown.vertical, shown.values, levels=levels, cmap=VALUE)
    axes.contour(
        shown.horizontal, shown.vertical, shown.values, levels=levels, colors="white", linewidths=0.5, alpha=0.6
    )
    bar = figure.colorbar(ScalarMappable(scale, VALUE), ax=axes, fraction=0.046, pad=0.02)
    bar.set_label("value Q(o, a)", fontsize=9.5)
    bar.ax.tick_params(labelsize=8.5, colors=GREY)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    axes.set(xlim=shown.horizontal[[0, -1]], ylim=shown.vertical[[0, -1]], aspect="equal")


def _points(axes: Axes, landscape: Landscape, moved: bool, size: float, clear: np.ndarray) -> None:
    """Draws proposals, arrows to their actions, and the data's action; rows that are not `clear` are faint."""
    columns = list(landscape.dimensions)
    starts, ends = landscape.proposals[:, columns], landscape.actions[:, columns]
    area = 14 * size**2
    others = np.setdiff1d(np.arange(len(starts)), clear)
    for rows, alpha in ((others, 0.3), (clear, 1.0)):
        look = {"s": area, "edgecolor": "white", "linewidth": 0.4 * size, "alpha": alpha}
        axes.scatter(*starts[rows].T, color=BLUE, zorder=4, **look)
        if moved:
            axes.scatter(*ends[rows].T, color=VERMILION, zorder=4.5, **look)
            axes.quiver(
                *starts[rows].T,
                *(ends - starts)[rows].T,
                angles="xy",
                scale_units="xy",
                scale=1,
                width=0.0028 * size,
                headwidth=4.5,
                headlength=5,
                headaxislength=4.5,
                color=INK,
                alpha=alpha,
                zorder=5,
            )
    if landscape.best is not None:
        axes.scatter(*ends[landscape.best], s=10 * area, marker="*", color="#FFD400", edgecolor=INK, zorder=7)
    if landscape.data_action is not None:
        data = landscape.data_action[columns]
        axes.scatter(*data, s=3.5 * area, marker="D", facecolor="none", edgecolor=INK, linewidth=1.6, zorder=7)


def _legend(landscape: Landscape, moved: bool) -> list[Line2D]:
    point = {"linestyle": "", "marker": "o", "markersize": 7, "markeredgecolor": "white"}
    handles = [Line2D([], [], color=BLUE, label="proposal of the flow", **point)]
    if moved:
        handles.append(Line2D([], [], color=INK, marker=">", linewidth=1.4, markersize=5, label="displacement"))
        handles.append(Line2D([], [], color=VERMILION, label="action (refined, clipped)", **point))
    if math.isfinite(landscape.bound):
        handles.append(Line2D([], [], color=BLUE, linestyle="--", linewidth=2.0, label="trust region's boundary"))
    open_point = {"linestyle": "", "markersize": 8, "markeredgecolor": INK}
    if landscape.data_action is not None:
        handles.append(Line2D([], [], marker="D", markerfacecolor="none", label="the data's action", **open_point))
    if landscape.best is not None:
        handles.append(Line2D([], [], marker="*", color="#FFD400", label="executed: the best", **open_point))
    return handles
