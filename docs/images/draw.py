"""Draws parts.png, the picture of the idea: python docs/images/draw.py

A flow from noise to a crescent of actions, in closed form (its data is a mixture of Gaussians), solved by ten Euler
steps; a value with two hills; and what a trust region allows.
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np

GREY, BLUE, ORANGE, DARK = "#9aa0a6", "#2f6fb0", "#d9731a", "#2b2f36"
SPREAD = 0.05
ANGLES = np.linspace(0.15 * np.pi, 1.12 * np.pi, 40)
CENTRES = 0.68 * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1) - [0.0, 0.22]
HILLS = (((0.62, 0.62), 1.0, 0.20), ((-0.35, -0.25), 0.45, 0.10))
RADIUS = 0.13


def velocity(points: np.ndarray, time: float) -> np.ndarray:
    """E[x1 - x0 | x_t], the field that flow matching learns, for N(0, I / 4) -> the mixture."""
    start = 0.25
    variance = (1 - time) ** 2 * start + time**2 * SPREAD**2
    offsets = points[:, None] - time * CENTRES[None]
    logits = -np.sum(offsets**2, axis=-1) / (2 * variance)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    pull = (time * SPREAD**2 - (1 - time) * start) / variance
    return np.sum(weights[..., None] * (CENTRES[None] + pull * offsets), axis=1)


def solve(noise: np.ndarray, steps: int = 10) -> np.ndarray:
    """Euler's method; all points of all paths, shape (steps + 1, N, 2)."""
    path = [noise]
    for step in range(steps):
        path.append(path[-1] + velocity(path[-1], step / steps) / steps)
    return np.stack(path)


def value(points: np.ndarray) -> np.ndarray:
    """Q of actions of shape (..., 2)."""
    return sum(h * np.exp(-np.sum((points - np.array(c)) ** 2, axis=-1) / (2 * w)) for c, h, w in HILLS)


def uphill(points: np.ndarray) -> np.ndarray:
    """The gradient of Q, by central differences."""
    steps = 1e-4 * np.eye(2)
    return np.stack([(value(points + step) - value(points - step)) / 2e-4 for step in steps], axis=-1)


def draw_value(axes: plt.Axes) -> None:
    """Level lines of Q."""
    grid = np.linspace(-1.05, 1.05, 200)
    points = np.stack(np.meshgrid(grid, grid), axis=-1)
    axes.contourf(grid, grid, value(points), levels=12, cmap="YlOrBr", alpha=0.45)


def frame(axes: plt.Axes, title: str, below: str) -> None:
    """The square of actions, with a title and a line of explanation."""
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xticks=[], yticks=[], aspect="equal")
    for spine in axes.spines.values():
        spine.set_color("#c8ccd0")
    axes.set_title(title, fontsize=13, color=DARK, pad=9, fontweight="bold")
    axes.text(0.5, -0.045, below, transform=axes.transAxes, ha="center", va="top", fontsize=10.5, color=DARK)


def main() -> None:
    """Three panels."""
    noise = np.random.default_rng(3).normal(scale=0.5, size=(130, 2))
    noise = noise[np.all(np.abs(noise) < 0.98, axis=1)]
    paths = solve(noise)
    proposals = np.clip(paths[-1], -1, 1)
    plt.rcParams["font.family"] = "DejaVu Sans"
    figure, (first, second, third) = plt.subplots(1, 3, figsize=(13.2, 4.95), facecolor="white")

    for index in range(0, paths.shape[1], 2):
        first.plot(*paths[:, index].T, color=BLUE, alpha=0.28, linewidth=0.9)
    first.scatter(*noise.T, s=13, color=GREY, label="noise z", zorder=3)
    first.scatter(*proposals.T, s=15, color=BLUE, label="proposals", zorder=3)
    first.legend(loc="lower left", fontsize=9.5, frameon=False, handletextpad=0.1)
    frame(first, "field \u00d7 solver", "The flow carries noise to actions like the data's.")

    draw_value(second)
    gradient = uphill(proposals)
    second.scatter(*proposals.T, s=15, color=BLUE, zorder=3)
    far = proposals + 0.45 * gradient / (np.linalg.norm(gradient, axis=1, keepdims=True) + 0.3)
    for proposal, end in zip(proposals[::2], far[::2], strict=True):
        second.annotate(
            "", end, proposal, arrowprops={"arrowstyle": "->", "color": DARK, "alpha": 0.6, "linewidth": 0.9}
        )
    second.text(0.62, 0.60, "high Q", ha="center", va="center", fontsize=10, color="#7a3d05")
    frame(second, "critic \u00d7 refiner", "Uphill in value, but soon far from the data.")

    draw_value(third)
    move = uphill(proposals)
    inside = proposals + RADIUS * move / np.maximum(np.linalg.norm(move, axis=1, keepdims=True), 1e-9)
    shown = []
    for index in np.argsort(proposals[:, 0]):
        if all(np.linalg.norm(proposals[index] - proposals[other]) > 0.24 for other in shown):
            shown.append(index)
    for index in shown:
        third.add_patch(plt.Circle(proposals[index], RADIUS, fill=True, facecolor="#ffffff99", edgecolor=BLUE))
        third.plot(*np.stack([proposals[index], inside[index]]).T, color=ORANGE, linewidth=1.6)
    third.scatter(*proposals[shown].T, s=20, color=BLUE, zorder=3, label="proposal")
    third.scatter(*inside[shown].T, s=26, color=ORANGE, zorder=3, label="executed action")
    third.legend(loc="lower left", fontsize=9.5, frameon=False, handletextpad=0.1)
    frame(third, "trust region \u00d7 constraint", "Uphill by the bound, and no further.")

    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.08, wspace=0.05)
    figure.savefig(Path(__file__).with_name("parts.png"), dpi=110)


if __name__ == "__main__":
    main()
