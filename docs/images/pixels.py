"""The picture of docs/pixels.md: what an agent sees, and how the three seeds of its small task learn.

cp tests/image_environment.py my_env.py
PYTHONPATH=. python docs/images/pixels.py RUN
"""

import csv
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import my_env

import deflow

HERE = Path(__file__).parent
SHOWN = 6


def episode(run):
    """The pictures of an episode of a run's policy."""
    policy, environment = deflow.load(run), my_env.Reach()
    pictures, over = [environment.reset(seed=3)[0].copy()], False
    while not over and len(pictures) < SHOWN:
        picture, _, over, _, _ = environment.step(policy.act(pictures[-1]))
        pictures.append(picture.copy())
    return pictures


def main(run):
    with open(HERE.parent / "benchmarks" / "pixels.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == "seen/Reach-v0"]
    figure = plt.figure(figsize=(10, 3.2), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=(1, 1))
    for axes, picture in zip(left.subplots(2, SHOWN // 2).flat, episode(run), strict=False):
        axes.imshow(picture)
    for axes in left.axes:
        axes.set_axis_off()
    axes = right.subplots()
    for seed in sorted({row["seed"] for row in rows}):
        own = [row for row in rows if row["seed"] == seed]
        steps = [int(row["updates"] or 0) for row in own]  # the flow alone is what training begins with
        axes.plot(steps, [float(row["success"]) for row in own], marker="o", label=f"seed {seed}")
    axes.set(xlabel="updates of critic and refiner", ylabel="success", ylim=(0, 1.05))
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(HERE / "pixels.png", dpi=130)


if __name__ == "__main__":
    main(sys.argv[1])
