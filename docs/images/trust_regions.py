"""Draws trust_regions.png: python docs/images/trust_regions.py

Every registered trust region around a proposal with two action coordinates, where the data's actions near the state
lie along a diagonal. The bounds are those that `auto` gives to the same mean square move.
"""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

from deflow import Batch, Spec, trust_regions
from deflow.testing import example_context
from deflow.types import build

BLUE, ORANGE, DARK, GREY = "#2f6fb0", "#d9731a", "#2b2f36", "#9aa0a6"
SQUARE = 0.02  # mean square displacement per dimension
ROWS, HALF = 600, 0.52  # of the data; half the side of a panel
STATE = jnp.zeros(1)


def nearby_actions() -> np.ndarray:
    """Deviations from the proposal: standard deviations 0.27 and 0.07 along axes turned by 35 degrees."""
    drawn = np.random.default_rng(0).standard_normal((ROWS, 2)) * [0.27, 0.07]
    turn = np.deg2rad(35)
    return drawn @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])


def regions(actions: np.ndarray) -> dict[str, trust_regions.AbstractTrustRegion]:
    """Every member at its bound: the mean size of the moves whose coordinates are sqrt(SQUARE) or -sqrt(SQUARE)."""
    row, states = np.ones(ROWS, np.float32), np.zeros((ROWS, 1), np.float32)
    context = example_context(Spec((1,), 2), data=Batch(states, actions.astype(np.float32), row, row, states))
    moves = jnp.asarray([[1.0, 1.0], [1.0, -1.0]]) * SQUARE**0.5
    found = {}
    for name, member in sorted(trust_regions.registry.items(), key=lambda item: (item[0] == "none", item[0])):
        region = build(member(), context, key=jax.random.key(0))
        if not isinstance(region, trust_regions.AbstractTrustRegion):
            continue  # it measures actions, not moves
        if name != "none":
            bound = float(jnp.mean(jax.vmap(lambda move, region=region: region.size(move, STATE))(moves)))
            region = dataclasses.replace(region, bound=bound)
        found[name] = region
    return found


def panel(axes: plt.Axes, name: str, region: trust_regions.AbstractTrustRegion, actions: np.ndarray) -> None:
    """The inside, and where moves from outside end."""
    grid = np.linspace(-HALF, HALF, 161)
    points = jnp.asarray(np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2), jnp.float32)
    sizes = np.asarray(jax.vmap(lambda point: region.size(point, STATE))(points)).reshape(161, 161)
    axes.set_facecolor("white" if np.isfinite(region.bound) else "#dbe7f4")
    if np.isfinite(region.bound):
        axes.contourf(grid, grid, sizes, levels=[-1.0, region.bound], colors=["#dbe7f4"])
        axes.contour(grid, grid, sizes, levels=[region.bound], colors=[BLUE], linewidths=1.8)
    axes.scatter(*actions[:200].T, s=5, color=GREY, alpha=0.55, linewidth=0)
    angles = np.deg2rad(np.arange(10, 370, 36))
    moves = 0.43 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    ends = np.asarray(jax.vmap(lambda move: region.project(move, STATE))(jnp.asarray(moves, jnp.float32)))
    for move, end in zip(moves, ends, strict=True):
        axes.plot(*move, "o", color=ORANGE, markersize=3.5)
        if np.linalg.norm(move - end) > 0.03:
            axes.annotate("", end, move, arrowprops={"arrowstyle": "->", "color": ORANGE, "lw": 1.1, "shrinkB": 0})
    axes.plot(0, 0, "+", color=DARK, markersize=9, markeredgewidth=1.6)
    axes.set(xlim=(-HALF, HALF), ylim=(-HALF, HALF), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set_color("#c8ccd0")
    axes.set_title(name, fontsize=12, color=DARK, fontweight="bold")
    below = f"bound {region.bound:.2g}" if np.isfinite(region.bound) else "everything is inside"
    axes.text(0.5, -0.03, below, transform=axes.transAxes, ha="center", va="top", fontsize=9.5, color=DARK)


def main() -> None:
    """One panel per member."""
    actions = nearby_actions()
    members = regions(actions)
    plt.rcParams["font.family"] = "DejaVu Sans"
    rows = -(-len(members) // 3)
    figure, places = plt.subplots(rows, 3, figsize=(8.7, 3.3 * rows), facecolor="white", squeeze=False)
    for axes in places.flat:
        axes.set_visible(False)
    for axes, (name, region) in zip(places.flat, members.items(), strict=False):
        axes.set_visible(True)
        panel(axes, name, region, actions)
    figure.tight_layout(h_pad=3.0)
    figure.savefig(Path(__file__).with_name("trust_regions.png"), dpi=110)


if __name__ == "__main__":
    main()
