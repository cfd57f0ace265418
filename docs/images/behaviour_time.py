"""Draws docs/images/behaviour-time.png from docs/benchmarks/behaviour-50000.csv: success against seconds.

python docs/images/behaviour_time.py
"""

import csv
import statistics
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parents[1]
MARKERS = {
    "joint": "s",
    "joint from a trained flow": "x",
    "frozen flow and fresh solves": "^",
    "from 16 proposals": "D",
    "from 4 proposals": "o",
    "from 1 proposal": "*",
}


def main() -> None:
    """Reads the rows that were timed, and draws the mean over seeds after each number of updates."""
    found = defaultdict(lambda: defaultdict(list))
    with open(DOCS / "benchmarks" / "behaviour-50000.csv", newline="") as file:
        for row in csv.DictReader(file):
            if seconds := row["seconds on one core"]:
                updates = int(row["updates of critic and refiner"])
                found[row["training"]][updates].append((float(seconds), float(row["success"])))
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for name, marker in MARKERS.items():
        means = [[statistics.mean(numbers) for numbers in zip(*rows, strict=True)] for rows in found[name].values()]
        if means:
            axes.plot(*zip(*sorted(means), strict=True), marker=marker, label=name, alpha=0.8)
    axes.set(
        xlabel="seconds on one core, all phases", ylabel="success (mean over seeds)", xlim=(0, None), ylim=(0, 1.02)
    )
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3, which="both")
    figure.savefig(DOCS / "images" / "behaviour-time.png", dpi=150)


if __name__ == "__main__":
    main()
