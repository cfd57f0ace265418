"""Draws docs/images/behaviour.png from docs/benchmarks/behaviour.csv: success against the flow's held-out loss.

python docs/images/behaviour.py
"""

import csv
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

DOCS = Path(__file__).resolve().parents[1]


def main() -> None:
    """Reads the table and draws one point per run."""
    with open(DOCS / "benchmarks" / "behaviour.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["updates of critic and refiner"]]
    kinds = {
        "joint training": [row for row in rows if row["training"] == "joint"],
        "flow first, frozen: fresh solves": [row for row in rows if row["training"].startswith("frozen")],
        "flow first, frozen: proposals": [row for row in rows if row["training"].startswith("from")],
    }
    figure, axes = plt.subplots(figsize=(6.4, 4.0), layout="constrained")
    for (name, found), marker in zip(kinds.items(), "sxo", strict=True):
        losses = [float(row["held-out flow loss"]) for row in found]
        axes.plot(losses, [float(row["success (50 episodes)"]) for row in found], marker, label=name, alpha=0.7)
    axes.set(xlabel="held-out flow loss", ylabel="success after 10,000 updates", ylim=(0, 1.02))
    axes.invert_xaxis()
    axes.legend(loc="lower right")
    axes.grid(alpha=0.3)
    figure.savefig(DOCS / "images" / "behaviour.png", dpi=150)


if __name__ == "__main__":
    main()
