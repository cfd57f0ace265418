"""Drawing curves: lines, bands, logarithmic axes, legends and labels."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from .curves import Curve

# Okabe and Ito's colours, told apart with any colour vision.
BLUE, VERMILION, GREEN, PURPLE, ORANGE, GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#595959"


def line(axes: Axes, curve: Curve, color: str, label: str, marker: str = "") -> None:
    """Draws the mean, with thin lines for the seeds behind it."""
    if len(curve.seeds) > 1:
        for number, (steps, values) in enumerate(curve.seeds):
            axes.plot(
                steps,
                values,
                color=color,
                linewidth=0.9,
                alpha=0.4,
                label="each seed" if marker and not number else None,
            )
    axes.plot(curve.steps, curve.mean, color=color, linewidth=2.0, label=label, marker=marker, markersize=4.5)


def band(axes: Axes, curve: Curve, color: str, label: str, limits: tuple[float, float]) -> None:
    """Draws the curve's interval: a shaded band, or a bar if there is only one step."""
    low, high = np.clip(curve.low, *limits), np.clip(curve.high, *limits)
    if not np.isfinite(low).any():
        return
    if len(curve.steps) == 1:
        axes.vlines(curve.steps, low, high, color=color, alpha=0.35, linewidth=5.0, label=label)
    else:
        axes.fill_between(curve.steps, low, high, color=color, alpha=0.16, linewidth=0.0, label=label)


def logarithmic(axes: Axes, *curves: Curve) -> None:
    """Makes the axis logarithmic if there is a positive value to show."""
    values = np.concatenate([values for curve in curves for _, values in curve.seeds])
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return
    axes.set_yscale("log", nonpositive="mask")
    narrow = values.max() < 100 * values.min()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if narrow else (1.0,), numticks=10))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def last_value(axes: Axes, curve: Curve, color: str, text: str) -> None:
    """Writes `text` beside the mean's last point, readable over other lines."""
    axes.annotate(
        text,
        (curve.steps[-1], curve.mean[-1]),
        (7, 0),
        textcoords="offset points",
        va="center",
        color=color,
        fontweight="bold",
        zorder=5,
        path_effects=[withStroke(linewidth=3.5, foreground="white")],
    )


def legend_above(axes: Axes) -> None:
    """Draws a one-line legend above the frame, clear of the curves."""
    count = len(axes.get_legend_handles_labels()[1])
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=count, frameon=False, fontsize=9, borderaxespad=0.2)


def phases(axes: Axes, switch: int) -> None:
    """Names the phases at the top of the frame, on either side of the switch, and leaves room for that."""
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.09 * (high - low))
    for name, offset, side in (("offline", -6, "right"), ("online", 6, "left")):
        axes.annotate(
            name,
            (switch, 1.0),
            (offset, -3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha=side,
            va="top",
            color=GREY,
            fontsize=9,
            fontstyle="italic",
        )


def dress(axes: Axes, last: int, switch: int | None) -> None:
    """Draws a plain frame and grid, an axis of steps from 0 to `last`, and a line at the switch to the online phase."""
    axes.set_xlim(-0.015 * last, 1.045 * last if last else 1)
    axes.set_xlabel("gradient updates" if switch is None else "updates, then environment steps")
    if switch is not None:
        axes.axvline(switch, color=GREY, linewidth=0.9, zorder=1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda steps, _: _short(steps)))
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6 if len(axes.figure.axes) > 1 else 10, integer=True))
    plain(axes)
    axes.title.set_fontsize(10)


def headline(figure: Figure, text: str) -> None:
    """Writes the heading of a picture, as it is: names may have dollar signs."""
    figure.suptitle(text, x=0.012, ha="left", fontsize=12, fontweight="bold", parse_math=False)


def plain(axes: Axes, size: float = 9) -> None:
    """Draws a plain frame and grid, with labels of this size."""
    axes.grid(visible=True, color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=GREY, labelsize=size)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#B0B0B0")


def _short(steps: float) -> str:
    """A number of steps as an axis label: 500, 20k, 1.5M."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(steps) >= size:
            return f"{steps / size:g}{letter}"
    return f"{steps:g}"
