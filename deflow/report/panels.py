"""The panels of a learning curve, each `None` if the runs have no data for it."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes

from .curves import evaluation_curve, training_curve
from .drawing import BLUE, GREEN, ORANGE, PURPLE, VERMILION, band, last_value, legend_above, line, logarithmic, phases
from .reading import RunFiles

Panel = Callable[[Axes], None]

EXPLORATION_POINTS = 15
"""Most points of training episodes: a row of train.csv covers few episodes, so many are averaged."""


def outcome_panel(runs: list[RunFiles], switch: int | None) -> Panel | None:
    """Success if the task reports it, otherwise the return, with that of the training episodes behind it; without an
    environment, the value that was estimated from the data."""
    success = evaluation_curve(runs, "evaluation/success")
    curve = success or evaluation_curve(runs, "evaluation/episode.return")
    if curve is None:
        return value_panel(runs)
    metric = "success" if success else "episode.return"
    exploration = training_curve(runs, f"exploration/{metric}", EXPLORATION_POINTS, "exploration/episodes")

    def panel(axes: Axes) -> None:
        over = "episodes" if len(runs) == 1 else f"{len(runs)} seeds"
        limits = (0.0, 1.0) if success else (-np.inf, np.inf)
        line(axes, curve, BLUE, f"mean over {over}", marker="o")
        band(axes, curve, BLUE, f"95% interval over {over}", limits)
        if exploration is not None:  # thin and behind: what counts is the evaluation
            steps, values = exploration.steps, exploration.mean
            axes.plot(steps, values, color=ORANGE, linewidth=1.2, alpha=0.85, zorder=1.5, label="while training")
        if len(curve.steps):
            last_value(axes, curve, BLUE, f"{curve.mean[-1]:.2f}" if success else f"{curve.mean[-1]:.3g}")
        if success:
            axes.set_ylim(-0.03, 1.03)
        axes.set_ylabel("success rate" if success else "return (undiscounted)")
        if switch is not None:
            phases(axes, switch)
        legend_above(axes)

    return panel


def value_panel(runs: list[RunFiles]) -> Panel | None:
    """The value that was estimated from the data, and the data's own returns."""
    curve, own = (evaluation_curve(runs, f"estimate/{name}") for name in ("value", "data_return"))
    if curve is None:
        return None

    def panel(axes: Axes) -> None:
        over = "trajectories and critics" if len(runs) == 1 else f"{len(runs)} seeds"
        line(axes, curve, BLUE, "policy", marker="o")
        band(axes, curve, BLUE, f"95% interval over {over}", (-np.inf, np.inf))
        if own is not None:
            axes.axhline(own.mean[-1], color=ORANGE, linestyle=(0, (4, 2)), linewidth=1.6, label="the data's own")
        last_value(axes, curve, BLUE, f"{curve.mean[-1]:.3g}")
        axes.set_ylabel("estimated value (discounted)")
        legend_above(axes)

    return panel


def size_panel(runs: list[RunFiles]) -> Panel | None:
    """The displacement's size and its bound."""
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


def price_panel(runs: list[RunFiles]) -> Panel | None:
    """The multiplier, which is the cost of a unit of size."""
    multiplier = training_curve(runs, "training/multiplier")
    if multiplier is None:
        return None

    def panel(axes: Axes) -> None:
        line(axes, multiplier, PURPLE, "multiplier")
        logarithmic(axes, multiplier)
        axes.set_title("multiplier of the constraint")
        axes.set_ylabel("value per unit of size")

    return panel


def losses_panel(runs: list[RunFiles]) -> Panel | None:
    """The losses of the critic and the flow."""
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
